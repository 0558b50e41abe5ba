"""Architectures: one attention, a few layers, and one short file for each model.

A model is a `flax.nnx.Module`. It takes plain keywords and named arrays, and knows no loss, optimizer or data set. What
a model can do beyond being called is said by `models.protocols`. `key` is the dropout key of a call; None, as in
evaluation, turns dropout off.

Inside a computation the letters at the end of a name are the axes of the array:

    B batch         T query length, or positions        S key length, or elements of an input array
    D width         H heads         G key heads         K size of a head, or beams of a search
    M MLP width     V vocabulary    L layers            C classes, or candidates of a beam search
    Z latents       F features      N = B K rows        U buckets of distances
    N nodes         E edges (of graphs)
    X any width     1 an axis of length 1

T and S stay distinct even in self-attention. Arguments that a batch provides keep their plain names (`tokens`,
`images`, `mask`). On public functions jaxtyping gives the shapes in words: `Float[Array, "batch time width"]`.
"""

from models.archetypal import ArchetypalAutoencoder
from models.autoencoder import Autoencoder
from models.bert import Bert
from models.bottleneck import Variational
from models.captioner import Captioner
from models.clip import CLIP
from models.convnext import ConvNeXt
from models.encoder_decoder import EncoderDecoder
from models.energy import LatentEnergy
from models.flamingo import Flamingo
from models.gpt import GPT
from models.graph import GraphNetwork
from models.in_context import InContextRegressor
from models.perceiver import Perceiver
from models.recurrent import RecurrentLanguageModel
from models.recurrent_encoder_decoder import RecurrentEncoderDecoder
from models.resnet import ResNet
from models.sequence_vae import SequenceVAE
from models.swin import SwinTransformer
from models.unet import UNet
from models.vae import VariationalAutoencoder
from models.vit import VisionTransformer
from models.yardsticks import ConvolutionalNetwork, Perceptron

__all__ = [
    "CLIP", "GPT", "MODELS", "ArchetypalAutoencoder", "Autoencoder", "Bert", "Captioner", "ConvNeXt",
    "ConvolutionalNetwork",
    "EncoderDecoder", "Flamingo", "GraphNetwork", "InContextRegressor", "LatentEnergy", "Perceiver", "Perceptron",
    "RecurrentEncoderDecoder", "RecurrentLanguageModel", "ResNet", "SequenceVAE", "SwinTransformer", "UNet",
    "Variational", "VariationalAutoencoder", "VisionTransformer",
]  # fmt: skip

MODELS = {
    "archetypal": ArchetypalAutoencoder,
    "autoencoder": Autoencoder,
    "bert": Bert,
    "captioner": Captioner,
    "clip": CLIP,
    "convnext": ConvNeXt,
    "convolutional": ConvolutionalNetwork,
    "encoder_decoder": EncoderDecoder,
    "flamingo": Flamingo,
    "gpt": GPT,
    "graph": GraphNetwork,
    "in_context": InContextRegressor,
    "latent_energy": LatentEnergy,
    "perceiver": Perceiver,
    "perceptron": Perceptron,
    "recurrent": RecurrentLanguageModel,
    "recurrent_encoder_decoder": RecurrentEncoderDecoder,
    "resnet": ResNet,
    "sequence_vae": SequenceVAE,
    "swin": SwinTransformer,
    "unet": UNet,
    "variational": Variational,
    "vit": VisionTransformer,
}
