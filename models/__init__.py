"""Architectures: one attention, a few layers, and one short file for each model.

A model is a `flax.nnx.Module`: plain keywords in, named arrays through, no loss, optimizer or dataset known.
`key` is the dropout key of a call; None, as in evaluation, turns dropout off.

Shape letters, at the end of a name: B batch, T query length, S key length, D width, H heads, G key heads, K head size,
M MLP width, V vocabulary, N nodes, C classes, L layers, Z latent. T and S stay distinct even in self-attention. What a
model is called with keeps the plain names of the batch (`tokens`, `images`, `mask`); its docstring gives the shape.
"""

from models.bert import Bert
from models.encoder_decoder import EncoderDecoder
from models.gpt import GPT
from models.in_context import InContextRegressor
from models.perceiver import Perceiver
from models.variational import Variational
from models.vit import VisionTransformer
from models.yardsticks import ConvolutionalNetwork, Perceptron

MODELS = {
    "bert": Bert,
    "convolutional": ConvolutionalNetwork,
    "encoder_decoder": EncoderDecoder,
    "gpt": GPT,
    "in_context": InContextRegressor,
    "perceiver": Perceiver,
    "perceptron": Perceptron,
    "variational": Variational,
    "vit": VisionTransformer,
}
