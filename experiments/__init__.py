"""What is done with models and runs, in wings: each an engine, with what it is told to do beside it.

| wing | commands (`python -m experiments.<command>`) | beside it |
|---|---|---|
| `sweep/` | `sweep`, `results`, `plot`, `population` | `sweeps/` |
| `benchmark/` | `benchmark` | `suites/` |
| `figures/` | `figures` | the figures, in folders by topic |
| `inside/` | `inspect`, `latent`: looking into a model | |
| `use/` | `predict`, `evaluate`, `export`, `generate`, `translate`, `caption`, `score`, `features`, `zero_shot` | |
| | `molecules`, `tokenizer`, `sample` | |
| `measure/` | `claims`, `speed`, `slopes`, `preflight`, `rates`, `scaling`, `document` | |
"""

from pathlib import Path
import sys

from core.huge_pages import use_huge_pages

if sys.argv[0] == "-m":  # so it is while Python looks for the module that `python -m experiments.<command>` names
    use_huge_pages()

# Commands keep short names: `python -m experiments.generate` runs `use/generate.py`. Imports use the full path.
__path__ += [str(Path(__file__).with_name(wing)) for wing in ("sweep", "inside", "use", "measure")]
