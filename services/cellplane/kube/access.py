"""Who one is in a cluster, and where it is: a kubeconfig, or the pod's own service account.

The official client reads the configuration, so every way to log in that it knows works here.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellplane.cell.problem import Invalid


@dataclass(slots=True, kw_only=True)
class Access:
    """An API server's address, and the credentials for it."""

    host: str
    tls: ssl.SSLContext | None
    server_name: str = ""
    proxy: str = ""
    _configuration: Any = None
    _loader: Any = None
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def authorization(self) -> str:
        """The header that says who one is; empty where the certificate does."""
        if self._configuration is None:
            return ""
        return await self._configuration.get_api_key_with_prefix("BearerToken") or ""

    async def renew(self) -> None:
        """Log in again, after an answer of 401."""
        if self._loader is None:
            return
        async with self._renewing:
            await self._loader.load_and_set(self._configuration)


async def load(kubeconfig: Path | None, context: str) -> Access:
    """Read a kubeconfig, or, without one, the pod's service account.

    Raises ``Invalid`` when there is neither, or the context does not exist.
    """
    # Imported when a cluster is talked to: it is large, and folders need none of it.
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.config import config_exception, incluster_config, kube_config

    configuration = Configuration()
    # No annotations of their own.
    read_file: Any = kube_config.load_kube_config
    read_pod: Any = incluster_config.load_incluster_config
    loader = None
    try:
        if kubeconfig is not None or context:
            loader = await read_file(
                config_file=str(kubeconfig) if kubeconfig is not None else None,
                context=context or None,
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            read_pod(client_configuration=configuration)
    except (config_exception.ConfigException, OSError) as error:
        raise Invalid(
            f"no cluster to connect to: {error}; pass --kubeconfig, or run in a pod"
        ) from error
    return Access(
        host=str(configuration.host).rstrip("/"),
        tls=_tls(configuration),
        server_name=getattr(configuration, "tls_server_name", None) or "",
        proxy=getattr(configuration, "proxy", None) or "",
        _configuration=configuration,
        _loader=loader,
    )


def _tls(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
