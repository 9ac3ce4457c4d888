"""One HTTP request for one event: to an address that is checked, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp

from cellplane.model.delivery.addresses import Guard, Refused
from cellplane.model.delivery.deliverer import Network

_AGENT: Final = "cellplane"


class Post:
    """Use it as an async context manager."""

    def __init__(self, networks: Sequence[Network], *, timeout: float, at_once: int) -> None:
        self._guard = Guard(networks)
        self._timeout = timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._guard, limit_per_host=at_once, use_dns_cache=False
            ),
            timeout=aiohttp.ClientTimeout(total=timeout),
        )

    async def __aenter__(self) -> Post:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> str | None:
        """Send it; answers what went wrong, or nothing where the answer was one of success."""
        try:
            self._guard.check_url(url)
            async with self._session.post(
                url, data=body, headers={"user-agent": _AGENT, **headers}, allow_redirects=False
            ) as answer:
                return None if 200 <= answer.status < 300 else f"answered {answer.status}"
        except Refused as error:
            return str(error)
        except aiohttp.ClientConnectorError as error:
            return str(error.os_error)
        except TimeoutError:
            return f"no answer within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
