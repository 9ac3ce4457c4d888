"""The network between real nodes, and the world outside of them; none of it is this machine's own.

A room of its own is a switch, the nodes' gateway, and every address outside of the cluster that
somebody wants to be there. No packet leaves it: the room has no way to the machine's network.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.sandbox.rooms import Room

NAME = "outside"
GATEWAY = "172.30.0.1"
_LENGTH = 24
PODS = "10.244.0.0/16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node is in the network."""

    number: int
    """Counts from 1."""

    @property
    def address(self) -> str:
        return f"172.30.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The addresses of its pods."""
        return f"10.244.{self.number}.0/24"


async def furnish(outside: Room, addresses: Iterable[str]) -> None:
    """Make the switch, and give the outside its addresses."""
    await _ip(
        outside,
        "link add nodes type bridge",
        f"address add {GATEWAY}/{_LENGTH} dev nodes",
        "link set nodes up",
        *(f"address add {address}/32 dev lo" for address in addresses),
    )


async def plug_in(outside: Room, node: Room, place: Place) -> None:
    """Connect a node: its ``eth0`` is a port of the switch, and everything else lies behind it."""
    port = f"node{place.number}"
    await _ip(
        outside,
        f"link add {port} type veth peer name eth0 netns {node.pid}",
        f"link set {port} master nodes up",
        f"route add {place.pods} via {place.address}",
    )
    await _ip(
        node,
        f"address add {place.address}/{_LENGTH} dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
    )


async def _ip(room: Room, *commands: str) -> None:
    await room.run("ip", "-batch", "-", given="".join(f"{each}\n" for each in commands))
