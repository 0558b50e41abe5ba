"""PyTorch's models, trained for a few steps at a time: the other side of `experiments/measure/peers.py`.

It runs in the environment of requirements-reference.txt, without JAX and without anything of ours:

  python experiments/measure/peers_torch.py FOLDER '{"kind": "gpt", "width": 128, ...}'

It writes the model into FOLDER/model and a batch into FOLDER/batch.safetensors, prints one line of JSON, and then, for
each line that it reads, trains so many steps and prints the milliseconds of the fastest.
"""

import json
import os
from pathlib import Path
import sys
import time

from safetensors.torch import save_file
import torch  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]


def gpt(vocab, width, depth, heads, length, **_):
    none = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    config = transformers.GPT2Config(
        vocab_size=vocab, n_positions=length, n_embd=width, n_layer=depth, n_head=heads, bos_token_id=0,
        eos_token_id=None, **none,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def bert(vocab, width, depth, heads, length, **_):
    config = transformers.BertConfig(
        vocab_size=vocab, max_position_embeddings=length, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=heads, intermediate_size=4 * width, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


def t5(vocab, width, depth, heads, length, **_):
    config = transformers.T5Config(
        vocab_size=vocab, d_model=width, num_layers=depth, num_heads=heads, d_kv=width // heads, d_ff=4 * width,
        n_positions=length, dropout_rate=0.0, decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def vit(image, patch, width, depth, heads, **_):
    config = transformers.ViTConfig(
        image_size=image, patch_size=patch, num_channels=3, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=heads, intermediate_size=4 * width, num_labels=10, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def perceiver(vocab, width, depth, heads, latents, length, **_):
    config = transformers.PerceiverConfig(
        vocab_size=vocab, max_position_embeddings=length, d_model=width, d_latents=width, num_latents=latents,
        num_self_attends_per_block=depth, num_blocks=1, num_self_attention_heads=heads,
        num_cross_attention_heads=heads, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.PerceiverForMaskedLM(config)


class VAE(torch.nn.Module):
    """784 binary pixels, one hidden layer on each side, diagonal Gaussian latents."""

    def __init__(self, pixels, width, latents, **_):
        super().__init__()
        self.encoder, self.posterior = torch.nn.Linear(pixels, width), torch.nn.Linear(width, 2 * latents)
        self.decoder, self.pixels = torch.nn.Linear(latents, width), torch.nn.Linear(width, pixels)

    def loss(self, images):
        mean, log_variance = self.posterior(torch.relu(self.encoder(images))).chunk(2, dim=-1)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        logits = self.pixels(torch.relu(self.decoder(z)))
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return (F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(dim=1) + kl).mean()


KINDS = {"gpt": gpt, "bert": bert, "t5": t5, "vit": vit, "perceiver": perceiver, "vae": VAE}


def make_batch(kind, batch, length=0, vocab=0, image=0, pixels=0, **_):
    if kind == "vae":
        return {"images": torch.rand(batch, pixels).round()}
    if kind == "vit":
        return {"images": torch.rand(batch, 3, image, image), "targets": torch.randint(10, (batch,))}
    tokens = {"tokens": torch.randint(vocab, (batch, length)), "targets": torch.randint(vocab, (batch, length))}
    return tokens | ({"source": torch.randint(vocab, (batch, length))} if kind == "t5" else {})


def loss_of(kind, model, batch):
    if kind == "vae":
        return model.loss(batch["images"])
    if kind == "vit":
        return F.cross_entropy(model(batch["images"]).logits, batch["targets"])
    if kind == "t5":
        logits = model(input_ids=batch["source"], decoder_input_ids=batch["tokens"]).logits
    else:
        logits = model(batch["tokens"]).logits
    return F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())


def main(folder: Path, shape: dict) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    kind = shape["kind"]
    model, batch = KINDS[kind](**shape).train(), make_batch(**shape)
    if kind != "vae":
        model.save_pretrained(folder / "model")
    save_file(batch, folder / "batch.safetensors")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
    parameters = sum(x.numel() for x in model.parameters())
    first = float(loss_of(kind, model, batch).detach())
    print(json.dumps({"parameters": parameters, "loss": first, "version": torch.__version__}), flush=True)
    for line in sys.stdin:
        fastest = float("inf")
        for _ in range(int(line)):
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss_of(kind, model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            fastest = min(fastest, time.perf_counter() - began)
        print(1000 * fastest, flush=True)


if __name__ == "__main__":
    _, folder, text = sys.argv
    main(Path(folder), json.loads(text))
