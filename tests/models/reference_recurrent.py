"""What PyTorch's `nn.GRU` and `nn.LSTM` compute with random weights, for batches of sequences of different lengths.

It runs where requirements-reference.txt is installed, see "make test-reference"; no JAX here, and nothing of ours.

  python tests/models/reference_recurrent.py FOLDER                 writes recurrent.safetensors, which the tests read
"""

from pathlib import Path
import sys

from safetensors.torch import save_file
import torch  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # pyright: ignore[reportMissingImports] # it runs in an environment of its own

INPUTS, UNITS, DEPTH, LENGTHS = 5, 7, 2, (11, 3, 1)


def compute(kind: str, bidirectional: bool) -> dict[str, torch.Tensor]:
    """The weights of a network, its inputs and outputs, and the last states of all layers and directions."""
    random = torch.Generator().manual_seed(1)
    network = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind](
        INPUTS, UNITS, DEPTH, batch_first=True, bidirectional=bidirectional
    )
    with torch.no_grad():
        for name, x in network.named_parameters():
            x.copy_(torch.randn(x.shape, generator=random) / 2)
            if kind == "gru" and name.startswith("bias_hh"):
                x[2 * UNITS :] = 0  # a bias that Flax's cell lacks, as do Cho et al.
        inputs = torch.randn((len(LENGTHS), max(LENGTHS), INPUTS), generator=random)
        packed = pack_padded_sequence(inputs, torch.tensor(LENGTHS), batch_first=True)
        outputs, last = network(packed)
        outputs, lengths = pad_packed_sequence(outputs, batch_first=True)
    states = {"h": last} if kind == "gru" else {"h": last[0], "c": last[1]}
    weights = dict(network.named_parameters())
    return {"inputs": inputs, "outputs": outputs, "lengths": lengths} | states | weights


if __name__ == "__main__":
    arrays = {
        f"{kind}.{directions}.{name}": x.detach().clone().contiguous()
        for kind in ("gru", "lstm")
        for directions in (1, 2)
        for name, x in compute(kind, directions == 2).items()
    }
    save_file(arrays, Path(sys.argv[1]) / "recurrent.safetensors")
