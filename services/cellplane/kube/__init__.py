"""One Kubernetes cluster by its API server: requests, discovery, watches, typed failures."""
