"""What the package `mup` (Yang et al. 2022) makes of a small transformer of three widths.

The numbers are in tests/models/test_parametrization.py.
It runs in an environment of its own, with no JAX, and nothing of ours:

  python -m venv /tmp/mup
  /tmp/mup/bin/pip install torch==2.13.0 pyyaml
  /tmp/mup/bin/pip install --no-deps mup==1.0.0
  /tmp/mup/bin/python tests/models/reference_mup.py
"""

from mup import MuAdamW, MuReadout, MuSharedReadout, init, set_base_shapes  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
import torch  # pyright: ignore[reportMissingImports] # it runs in an environment of its own

VOCABULARY, CONTEXT, BASE, WIDTHS, RATE, DECAY = 23, 13, 14, (14, 42, 70), 0.01, 0.1


def transformer(width: int) -> torch.nn.Module:
    """The parameters of one block between embeddings and read-outs, one of them with weights of its own, one tied."""
    linear = lambda inputs, outputs: torch.nn.Linear(inputs, outputs)
    embedding = torch.nn.Embedding(VOCABULARY, width)
    parts = {
        "embedding": embedding,
        "positions": torch.nn.Embedding(CONTEXT, width),
        "query": linear(width, width),
        "up": linear(width, 4 * width),
        "down": linear(4 * width, width),
        "norm": torch.nn.LayerNorm(width),
        "head": MuReadout(width, VOCABULARY, bias=False),
        "tied": MuSharedReadout(embedding.weight, bias=False),
    }
    return torch.nn.ModuleDict(parts)


def deviation(draw, parameter: torch.nn.Parameter) -> float:
    """The standard deviation of an initializer: what it draws, over what N(0, 1) gives with the same random state."""
    torch.manual_seed(3)
    draw(parameter)
    torch.manual_seed(3)
    with torch.no_grad():
        return float((parameter / torch.empty_like(parameter).normal_(0, 1)).median())


def main() -> None:
    for width in WIDTHS:
        model = set_base_shapes(transformer(width), transformer(BASE), delta=transformer(2 * BASE))
        groups = MuAdamW(model.parameters(), lr=RATE, weight_decay=DECAY).param_groups
        of_parameter = {id(parameter): group for group in groups for parameter in group["params"]}
        for name, module in model.items():
            small = name in ("embedding", "positions", "tied")
            draw = (lambda x: init.normal_(x, std=0.02)) if small else (
                lambda x: init.kaiming_normal_(x, nonlinearity="linear"))  # fmt: skip
            for kind, parameter in module.named_parameters():
                group = of_parameter[id(parameter)]
                numbers = {"rate": group["lr"] / RATE, "decay": group["lr"] * group["weight_decay"] / (RATE * DECAY)}
                if kind == "weight" and name != "norm":
                    numbers["deviation"] = deviation(draw, parameter)
                if isinstance(module, MuReadout):
                    with torch.no_grad():
                        parameter.fill_(1)
                        numbers["multiplier"] = float(module(torch.ones(width))[0]) / width
                print(f"{width:3} {name + '.' + kind:17}", {key: round(x, 6) for key, x in numbers.items()})


if __name__ == "__main__":
    main()
