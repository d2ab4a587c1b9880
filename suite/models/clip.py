"""CLIP: images and the texts that go with them, in one space."""

from dataclasses import replace

from suite.model import Input, Model, Origin, Weights

SHA256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"

RESNET50 = Model(
    "clip_resnet50",
    "clip_resnet50",
    1024,
    Input(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)),
    weights=Weights(
        "clip_resnet50.safetensors",
        origin=Origin(
            (f"https://openaipublic.azureedge.net/clip/models/{SHA256}/RN50.pt",),
            sha256=SHA256,
            prefix="visual.",
            leftover=(
                "transformer.*",
                "token_embedding.*",
                "positional_embedding",
                "ln_final.*",
                "text_projection",
                "logit_scale",
                "input_resolution",
                "context_length",
                "vocab_size",
            ),
        ),
    ),
    pretraining="400 million images of the web and their texts",
    licence="MIT",
    citation="Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    families=("cog",),
)
PAPER = replace(
    RESNET50,
    name="clip-paper_resnet50",
    input=Input(),
    pretraining=f"{RESNET50.pretraining}; its input as CoG made it, with ImageNet's mean and std",
    families=(),
)
