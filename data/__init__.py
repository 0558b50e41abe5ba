"""Data sets, by the name that a config gives them.

To add one, write a function in a file of its own and add a line to `DATASETS`. The function takes only keywords:
`train` and `evaluation`, the splits in TFDS notation such as "train[:80%]", and further options of the set. It returns
a `data.dataset.Dataset`, whose sources `data.pipeline` turns into batches.
"""

from data.binary_mnist import binary_mnist
from data.compression import compression
from data.digits import digits
from data.ellipses import ellipse, horn
from data.graph_classes import graph_classes
from data.graph_files import graph_files
from data.image_array import image_array
from data.images import fashion_mnist, mnist
from data.imdb import imdb
from data.key_value_recall import fuzzy_recall, noisy_recall
from data.lexical_reversal import lexical_reversal
from data.linear_functions import linear_functions
from data.listops import listops
from data.markov import markov
from data.memorisation import memorisation
from data.mixtures import mixtures
from data.modular_addition import modular_addition
from data.molecules import molecules, molecules_file
from data.mqar import mqar
from data.number_languages import number_languages
from data.number_words import number_words
from data.planetoid import planetoid
from data.progressions import progressions
from data.python_docs import python_docs
from data.quotes import python_docs_quotes
from data.random_fields import random_fields
from data.recall import recall
from data.repeats import repeats
from data.reversal import reversal
from data.selective_copying import selective_copying
from data.sentence_pairs import sentence_pairs
from data.shapes import shapes
from data.text import text_file, tiny_shakespeare
from data.textures import textures
from data.tfds_sets import tfds
from data.topics import topics
from data.translation import translation
from data.two_views import gaussian_pair, two_views
from data.user_files import image_folder, labelled_text

DATASETS = {
    "binary_mnist": binary_mnist,
    "compression": compression,
    "digits": digits,
    "memorisation": memorisation,
    "mixtures": mixtures,
    "mnist": mnist,
    "mqar": mqar,
    "fashion_mnist": fashion_mnist,
    "ellipse": ellipse,
    "fuzzy_recall": fuzzy_recall,
    "gaussian_pair": gaussian_pair,
    "graph_classes": graph_classes,
    "graph_files": graph_files,
    "horn": horn,
    "image_array": image_array,
    "image_folder": image_folder,
    "imdb": imdb,
    "labelled_text": labelled_text,
    "lexical_reversal": lexical_reversal,
    "linear_functions": linear_functions,
    "listops": listops,
    "markov": markov,
    "modular_addition": modular_addition,
    "molecules": molecules,
    "molecules_file": molecules_file,
    "noisy_recall": noisy_recall,
    "number_languages": number_languages,
    "number_words": number_words,
    "planetoid": planetoid,
    "progressions": progressions,
    "python_docs": python_docs,
    "python_docs_quotes": python_docs_quotes,
    "random_fields": random_fields,
    "recall": recall,
    "repeats": repeats,
    "reversal": reversal,
    "selective_copying": selective_copying,
    "sentence_pairs": sentence_pairs,
    "shapes": shapes,
    "text_file": text_file,
    "textures": textures,
    "tfds": tfds,
    "tiny_shakespeare": tiny_shakespeare,
    "topics": topics,
    "translation": translation,
    "two_views": two_views,
}
