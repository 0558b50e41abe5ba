"""What each architecture can do, as `models.protocols` tells it."""

from flax import nnx
import pytest

from models import MODELS
from models.protocols import Features, LanguageModel, LatentVariable, Resizable, Translator
from tests.models.rows import ROWS

ABILITIES = {
    "bert": {Features},
    "encoder_decoder": {LanguageModel, Translator},  # it has all methods of a language model, with another `new_cache`
    "gpt": {LanguageModel},
    "perceiver": {Features},
    "variational": {LatentVariable},
    "recurrent": {LanguageModel},
    "recurrent_encoder_decoder": {LanguageModel, Translator},
    "vit": {Features, Resizable},
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_can_do_what_its_methods_say(name):
    model = nnx.eval_shape(lambda: MODELS[name](**ROWS[name][0], rngs=nnx.Rngs(0)))
    protocols = [Features, LanguageModel, LatentVariable, Resizable, Translator]
    assert {protocol for protocol in protocols if isinstance(model, protocol)} == ABILITIES.get(name, set())
