"""What accelerators can do at most, as their makers publish it: the roof that a program is compared with.

Sources: the pages of Cloud TPU on each version, and NVIDIA's data sheets (dense products, without sparsity). Links are
those between chips, in one direction and all of a chip together.
"""

from dataclasses import dataclass
import re

TERA, GIGA, GIB = 1e12, 1e9, 2**30


@dataclass(frozen=True)
class Chip:
    """The peaks of a chip.

    Attributes:
      kind: a pattern of the name that JAX gives the device.
      platform: as JAX calls it.
      bfloat16, float32: operations per second in products of matrices with such inputs. On a TPU both are computed as
        bfloat16, on a GPU from Ampere on float32 as TensorFloat-32, which is what JAX does by default.
      memory: in bytes; what makers call GB is GiB here.
      bandwidth: of the memory, in bytes per second.
      link: between chips, in bytes per second; None where only the host connects them.
      devices: that JAX shows for one chip that is there.
    """

    kind: str
    platform: str
    bfloat16: float
    float32: float
    memory: float
    bandwidth: float
    link: float | None = None
    devices: int = 1

    def flops(self, dtype: str) -> float:
        """Returns the operations per second, for a model that computes in `dtype`."""
        return self.float32 if dtype == "float32" else self.bfloat16


def _tpu(kind: str, tera: float, memory: float, bandwidth: float, link: float, devices: int = 1) -> Chip:
    return Chip(kind, "tpu", tera * TERA, tera * TERA, memory * GIB, bandwidth * GIGA, link * GIGA, devices)


def _gpu(kind: str, tera: float, single: float, memory: float, bandwidth: float, link: float | None = None) -> Chip:
    link = None if link is None else link * GIGA
    return Chip(kind, "cuda", tera * TERA, single * TERA, memory * GIB, bandwidth * GIGA, link)


# By the name that a topology has. The first pattern that fits applies.
CHIPS = {
    "v3": _tpu("TPU v3", 123, 32, 900, 328, devices=2),
    "v4": _tpu("TPU v4", 275, 32, 1228, 300),
    "v5e": _tpu("TPU v5 ?lite|TPU v5e", 197, 16, 819, 200),
    "v5p": _tpu("TPU v5p?$", 459, 95, 2765, 600),
    "v6e": _tpu("TPU v6 ?lite|TPU v6e", 918, 32, 1638, 400),
    "b200": _gpu("B200", 2250, 1100, 180, 7700, 900),
    "h200": _gpu("H200", 989, 494, 141, 4800, 450),
    "h100": _gpu("H100 80GB HBM3|H100 SXM", 989, 494, 80, 3350, 450),
    "h100_pcie": _gpu("H100 PCIe", 756, 378, 80, 2000),
    "a100_80gb": _gpu("A100.*80GB", 312, 156, 80, 2039, 300),
    "a100": _gpu("A100.*40GB", 312, 156, 40, 1555, 300),
    "l40s": _gpu("L40S", 362, 183, 48, 864),
    "l4": _gpu("L4$", 121, 60, 24, 300),
    "a10": _gpu("A10$", 125, 62.5, 24, 600),
    "v100": _gpu("V100", 125, 15.7, 16, 900, 150),
    "t4": _gpu("T4$", 65, 8.1, 16, 320),
}


def chip_of(kind: str) -> Chip | None:
    """Returns the chip of a device that JAX calls so, or None where it is not in the table, as a CPU."""
    return next((chip for chip in CHIPS.values() if re.search(chip.kind, kind)), None)
