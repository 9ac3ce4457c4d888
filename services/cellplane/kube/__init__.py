"""One Kubernetes cluster, as its API server shows it: requests, discovery, watches, typed failures."""
