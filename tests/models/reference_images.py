"""What the image processors of the reference make of random images of odd sizes.

It runs where requirements-reference.txt is installed, see "make test-reference"; no JAX here, and nothing of ours.

  python tests/models/reference_images.py FOLDER      a folder for each case: its settings, the images, what is made
  python tests/models/reference_images.py tests/models/processors              those that the ordinary tests read
"""

import json
from pathlib import Path
import sys

from safetensors.torch import save_file
import torch  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
import transformers  # pyright: ignore[reportMissingImports] # it runs in an environment of its own

SQUARE = {"height": 13, "width": 13}
CASES = {  # model_type and what is special: (class, settings)
    "vit": ("ViTImageProcessorPil", {"size": SQUARE}),
    "vit-bicubic": ("ViTImageProcessorPil", {"size": SQUARE, "resample": 3}),
    "perceiver": ("PerceiverImageProcessorPil", {"size": SQUARE, "do_center_crop": False}),
    "deit": ("DeiTImageProcessorPil", {"size": {"height": 19, "width": 19}, "crop_size": {"height": 11, "width": 11}}),
    "deit-even": ("DeiTImageProcessorPil", {"size": 14, "crop_size": 11, "rescale_factor": 1 / 127.5}),
    "dinov2": ("BitImageProcessorPil", {"size": {"shortest_edge": 17}, "crop_size": SQUARE}),
    "dinov2_with_registers": ("BitImageProcessorPil", {"size": {"shortest_edge": 13}, "crop_size": 7}),
    "dinov2-bilinear": ("BitImageProcessorPil", {"size": 20, "crop_size": 11, "resample": 2}),
    "clip": ("CLIPImageProcessorPil", {"size": {"shortest_edge": 13}, "crop_size": {"height": 13, "width": 13}}),
    "clip-old": ("CLIPImageProcessorPil", {"size": 11, "crop_size": 11, "do_normalize": False}),
    "resnet": ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 13}, "resample": 3}),
    "resnet-all": ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 11}, "crop_pct": 1.0, "resample": 2}),
    "swin": ("ViTImageProcessorPil", {"size": 11, "resample": 3}),
    "convnext": ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 17}, "crop_pct": 0.9}),
}
SIDES = [(23, 37), (41, 17), (13, 13), (5, 7)]


def main(folder: Path) -> None:
    """Writes all cases."""
    random = torch.Generator().manual_seed(0)
    for case, (name, settings) in CASES.items():
        processor = getattr(transformers, name)(**settings)
        (folder / case).mkdir(parents=True, exist_ok=True)
        processor.save_pretrained(folder / case)
        (folder / case / "config.json").write_text(json.dumps({"model_type": case.partition("-")[0]}))
        tensors = {}
        for number, sides in enumerate(SIDES):
            image = torch.randint(256, (*sides, 3), generator=random, dtype=torch.uint8)
            result = processor(image.numpy(), return_tensors="pt", input_data_format="channels_last").pixel_values[0]
            tensors |= {f"image.{number}": image, f"result.{number}": result.permute(1, 2, 0).float().contiguous()}
        save_file(tensors, folder / case / "images.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
