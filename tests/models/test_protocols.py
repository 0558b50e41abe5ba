"""What each architecture can do, as `models.protocols` tells it."""

from flax import nnx
import pytest

from models import MODELS
from models.protocols import (
    Classifier,
    Comparer,
    Describer,
    Features,
    LanguageModel,
    LatentVariable,
    Resizable,
    TokenPredictor,
    Translator,
)
from tests.models.rows import ROWS

ABILITIES = {
    "archetypal": {LatentVariable},
    "bert": {Features, TokenPredictor},
    # It has all methods of a language model, with another `new_cache`.
    "captioner": {Describer, LanguageModel, TokenPredictor},
    "clip": {Comparer},
    "convnext": {Classifier, Features},
    "convolutional": {Classifier},
    # It has all methods of a language model, with another `new_cache`.
    "encoder_decoder": {LanguageModel, TokenPredictor, Translator},
    "flamingo": {TokenPredictor},
    "gpt": {LanguageModel, TokenPredictor},
    "graph": {Classifier},
    "perceiver": {Classifier, Features},
    "perceptron": {Classifier},
    "recurrent": {LanguageModel, TokenPredictor},
    "recurrent_encoder_decoder": {LanguageModel, TokenPredictor, Translator},
    "resnet": {Classifier, Features},
    "sequence_vae": {TokenPredictor},
    "swin": {Classifier, Features},
    "unet": {Classifier},
    "variational": {Classifier, LatentVariable},
    "vit": {Classifier, Features, Resizable},
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_can_do_what_its_methods_say(name):
    model = nnx.eval_shape(lambda: MODELS[name](**ROWS[name][0], rngs=nnx.Rngs(0)))
    protocols = [
        Classifier, Comparer, Describer, Features, LanguageModel, LatentVariable, Resizable, TokenPredictor, Translator
    ]  # fmt: skip
    assert {protocol for protocol in protocols if isinstance(model, protocol)} == ABILITIES.get(name, set())
