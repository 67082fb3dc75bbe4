"""Accelerators by the names people use, and what fits on one."""

from dataclasses import dataclass

_PLANNED = 0.9
"""Of a device's memory that may be planned with; the rest is the driver's, the libraries' (a few GB of
buffers for communication) and lost between allocations."""


@dataclass(frozen=True)
class Device:
    """What one rank computes on.

    Attributes:
        name: for people.
        memory: bytes, as its maker states them.
    """

    name: str
    memory: int

    @property
    def usable(self) -> int:
        """Bytes that a plan may fill."""
        return int(self.memory * _PLANNED)


DEVICES = {
    "a100-40": Device("NVIDIA A100 40GB", 40 * 10**9),
    "a100": Device("NVIDIA A100 80GB", 80 * 10**9),
    "h100": Device("NVIDIA H100", 80 * 10**9),
    "h200": Device("NVIDIA H200", 141 * 10**9),
    "b200": Device("NVIDIA B200", 180 * 10**9),
    "mi250x": Device("AMD MI250X, one of its two dies", 64 * 10**9),
    "mi300x": Device("AMD MI300X", 192 * 10**9),
}
"""From the makers' data sheets."""


def device_called(name: str) -> Device:
    """Return the device called ``name``, in any case.

    Raises ValueError where there is none, with the names there are.
    """
    try:
        return DEVICES[name.lower()]
    except KeyError:
        raise ValueError(f"--device {name}: not known; choose one of {', '.join(DEVICES)}") from None
