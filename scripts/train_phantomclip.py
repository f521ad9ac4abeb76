"""Train a demonstration model on phantoms and write its weights into the package.

    python scripts/train_phantomclip.py --variant base     # about 15 minutes on two cores
    python scripts/train_phantomclip.py --variant small    # about 3 minutes

Recipe: a symmetric contrastive loss between images and captions in which all pairs of one class
are positive, and the same loss between two captions of an image, which keeps the classes of one
family apart in the text tower: their captions share nearly all tokens, and without this term the
image tower hardly gets a gradient. The text tower alone is warmed up on captions first. There is
no augmentation by noise, blur or contrast: robustness is meant to be lost.

Two single-thread processes share each batch and average their gradients. Everything drawn (data,
first weights, order, augmentation, captions) comes from --seed; on one machine with the same
versions of the libraries a second run gives the same weights bit for bit, and elsewhere rounding
differs, so that weights and figures do too, slightly.
"""

import argparse
import math
import os
import tempfile
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional

from medrobust.datasets import ImageSet, Phantoms
from medrobust.datasets.phantoms.source import CLASSES, FAMILIES
from medrobust.models import phantomclip
from medrobust.models.phantomclip import ARCHITECTURES, PhantomCLIP
from medrobust.models.tokenizer import read_tokenizer

PROCESSES = 2
BATCH = 48
"""Images a process and step."""

SENTENCES = (
    "{}",
    "an image of {}",
    "a photo of {}",
    "a medical image of {}",
    "findings: {}",
    "this study shows {}",
)
MODALITIES = {
    "blood": ("blood cell microscopy", "blood smear"),
    "fundus": ("fundus photography", "retinal photograph"),
    "chest": ("chest x-ray", "chest radiograph"),
    "oct": ("retinal oct", "optical coherence tomography"),
    "ultrasound": ("breast ultrasound", "breast sonography"),
}
DESCRIPTIONS = {
    "neutrophil": "white cell with several joined lobes",
    "eosinophil": "white cell with two lobes and red granules",
    "basophil": "white cell covered by dark granules",
    "lymphocyte": "white cell with one round nucleus",
    "monocyte": "large white cell with a kidney shaped nucleus",
    "healthy retina": "eye without lesions",
    "hard exudates": "bright yellow deposits",
    "retinal hemorrhages": "dark blots of bleeding",
    "neovascularization": "tufts of fine new vessels",
    "normal lungs": "clear lungs without findings",
    "lobar opacity": "patchy consolidation in one lobe",
    "pleural effusion": "fluid at the lung base",
    "enlarged heart": "wide cardiac silhouette",
    "normal macula": "regular layers with a foveal pit",
    "drusen": "small bumps under the pigment epithelium",
    "cystoid fluid": "dark cysts inside thickened layers",
    "neovascular membrane": "broad dome lifting the pigment epithelium",
    "normal breast tissue": "even tissue without a mass",
    "benign mass": "smooth oval lump",
    "malignant mass": "irregular spiked lump",
}


@dataclass(frozen=True)
class Recipe:
    """What differs between the variants.

    Attributes:
        epochs: Passes over the training split.
        per_class: Training images a class.
    """

    epochs: int
    per_class: int
    rate: float = 1.5e-3
    decay: float = 0.05
    warm_up: int = 100
    caption_weight: float = 0.5
    caption_scale: float = 15.0
    text_steps: int = 150


RECIPES = {"base": Recipe(epochs=6, per_class=1000), "small": Recipe(epochs=2, per_class=1000)}


def captions() -> list[list[str]]:
    """Return the captions of each class, in label order."""
    return [
        [
            sentence.format(phrase)
            for sentence in SENTENCES
            for words in (kind, DESCRIPTIONS[kind])
            for phrase in (
                words,
                *(f"{words} on {modality}" for modality in MODALITIES[family.name]),
                *(f"{modality} with {words}" for modality in MODALITIES[family.name]),
            )
        ]
        for family, kind in CLASSES
    ]


def train_tokenizer(path: Path) -> None:
    """Learn a byte-level BPE of 512 entries on the captions, and write it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=512,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain(*captions()), trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    path.parent.mkdir(exist_ok=True)
    tokenizer.save(str(path))


def contrastive(left: Tensor, right: Tensor, same: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric cross-entropy against the uniform distribution over the pairs of one class.

    The entropy of that target is taken off, so that a perfect model has loss 0.
    """
    logits = scale * left @ right.T
    losses = []
    for direction, positive in ((logits, same), (logits.T, same.T)):
        target = positive / positive.sum(1, keepdim=True)
        cross = -(target * functional.log_softmax(direction, dim=1)).sum(1)
        losses.append((cross - positive.sum(1).log()).mean())
    return torch.stack(losses).mean()


def same_class(labels: Tensor) -> Tensor:
    """Return (N, N) ones where two labels are equal."""
    return (labels[:, None] == labels[None, :]).float()


def optimizer(model: nn.Module, recipe: Recipe, rate: float) -> torch.optim.AdamW:
    """AdamW without decay on biases, norms, positions and the logit scale."""
    plain = [p for n, p in model.named_parameters() if p.ndim < 2 or "position" in n]
    decayed = [p for n, p in model.named_parameters() if not (p.ndim < 2 or "position" in n)]
    groups = [
        {"params": decayed, "weight_decay": recipe.decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


class Captions:
    """All captions, tokenized once."""

    def __init__(self, model: PhantomCLIP) -> None:
        by_class = captions()
        self.ids, mask = model.tokenizer(list(chain(*by_class)))
        self.counts = mask.bool()
        self.per_class = len(by_class[0])

    def draw(self, model: PhantomCLIP, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """Embed one random caption of each label."""
        rows = labels * self.per_class + torch.from_numpy(
            rng.integers(0, self.per_class, len(labels))
        )
        counts = self.counts[rows]
        longest = int(counts.sum(1).max())
        embedded = model.text_encoder(self.ids[rows, :longest], counts[:, :longest])
        return functional.normalize(embedded, dim=-1)


def warm_up_text(model: PhantomCLIP, sentences: Captions, recipe: Recipe, seed: int) -> None:
    """Teach the text tower to tell the captions of different classes apart."""
    rng = np.random.default_rng([seed, 1])
    adam = optimizer(model.text_encoder, recipe, 2e-3)
    labels = torch.arange(len(CLASSES)).repeat(3)
    for _ in range(recipe.text_steps):
        first, second = (sentences.draw(model, labels, rng) for _ in range(2))
        loss = contrastive(first, second, same_class(labels), recipe.caption_scale)
        adam.zero_grad()
        loss.backward()
        adam.step()


def augment(pixels: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of the images (never chest), and vary gain and offset a little."""
    chest = torch.tensor([family.name == "chest" for family, _ in CLASSES])[labels]
    mirrored = torch.from_numpy(rng.random(len(labels)) < 0.5) & ~chest
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(labels), 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-0.15, 0.15, (len(labels), 1, 1, 1)).astype(np.float32))
    return pixels * gain + offset


def preprocessed(model: PhantomCLIP, images: ImageSet, rows: np.ndarray) -> Tensor:
    """Read rows and bring them to the model's input."""
    batch = torch.from_numpy(images.images[np.sort(rows)][np.argsort(np.argsort(rows))])
    return model.preprocess(batch.permute(0, 3, 1, 2).contiguous())


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Average gradients over the processes, in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def average_buffers(model: nn.Module) -> None:
    """Average the statistics of the batch norms over the processes."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            distributed.all_reduce(buffer)
            buffer /= distributed.get_world_size()


@torch.inference_mode()
def evaluate(model: PhantomCLIP, images: ImageSet) -> dict[str, float]:
    """Return the balanced accuracy of each family (argmax within it) and of all 20 classes."""
    model.eval()
    classes = model.encode_text([f"an image of {text}" for text in images.texts])
    rows = np.arange(len(images))
    features = [
        model.encode_image(preprocessed(model, images, part))
        for part in np.array_split(rows, math.ceil(len(rows) / 50))
    ]
    cosines = (torch.cat(features) @ classes.T).numpy()
    families = np.array([family.name for family, _ in CLASSES])
    result = {}
    for name in FAMILIES:
        own = families == name
        mine = own[images.labels]
        guess = np.flatnonzero(own)[cosines[mine][:, own].argmax(1)]
        hit = guess == images.labels[mine]
        result[name] = float(
            np.mean([hit[images.labels[mine] == c].mean() for c in np.flatnonzero(own)])
        )
    result["mean"] = float(np.mean(list(result.values())))
    hit = cosines.argmax(1) == images.labels
    result["20-way"] = float(np.mean([hit[images.labels == c].mean() for c in range(len(CLASSES))]))
    result["largest cosine of two prompts of a family"] = max(
        float((classes @ classes.T)[families == name][:, families == name].fill_diagonal_(-1).max())
        for name in FAMILIES
    )
    model.train()
    return result


def train(rank: int, variant: str, seed: int, address: str, out: Path) -> None:
    """Train in one of the processes; the first evaluates and writes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{address}", rank=rank, world_size=PROCESSES)
    recipe = RECIPES[variant]
    images = Phantoms(per_class=recipe.per_class).load("train")
    validation = Phantoms().load("val")
    torch.manual_seed(seed)
    tokenizer = read_tokenizer(phantomclip.TOKENIZER, ARCHITECTURES[variant].context, "<pad>")
    model = PhantomCLIP(variant, tokenizer).train()
    model.visual_encoder.to(memory_format=torch.channels_last)
    sentences = Captions(model)
    warm_up_text(model, sentences, recipe, seed)
    adam = optimizer(model, recipe, recipe.rate)
    per_epoch = len(images) // (BATCH * PROCESSES)
    total, step, started = recipe.epochs * per_epoch, 0, time.perf_counter()
    for epoch in range(recipe.epochs):
        order = np.random.default_rng([seed, 2, epoch]).permutation(len(images))
        rng = np.random.default_rng([seed, 3, epoch, rank])
        for number in range(per_epoch):
            for group in adam.param_groups:
                group["lr"] = recipe.rate * schedule(step, total, recipe.warm_up)
            rows = order[(number * PROCESSES + rank) * BATCH :][:BATCH]
            loss = learn(model, adam, images, rows, sentences, recipe, rng)
            step += 1
            if rank == 0 and step % 50 == 0:
                seconds = time.perf_counter() - started
                print(f"step {step}/{total}  loss {loss:.3f}  {seconds:.0f} s", flush=True)
        average_buffers(model)
        if rank == 0:
            scores = evaluate(model, validation)
            print(epoch + 1, {key: round(value, 3) for key, value in scores.items()}, flush=True)
    if rank == 0:
        weights = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(weights, out, metadata={"format": "pt"})
    distributed.destroy_process_group()


def schedule(step: int, total: int, warm_up: int) -> float:
    """Linear warm-up, then a cosine to 1 %."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up)))


def learn(
    model: PhantomCLIP,
    adam: torch.optim.AdamW,
    images: ImageSet,
    rows: np.ndarray,
    sentences: Captions,
    recipe: Recipe,
    rng: np.random.Generator,
) -> float:
    """Take one step and return the loss of this process."""
    labels = torch.from_numpy(images.labels[rows])
    pixels = augment(preprocessed(model, images, rows), labels, rng)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        embedded = model.visual_encoder(pixels)
    seen = functional.normalize(embedded.float(), dim=-1)
    first, second = (sentences.draw(model, labels, rng) for _ in range(2))
    same = same_class(labels)
    loss = contrastive(seen, first, same, model.log_logit_scale.exp())
    kept = contrastive(first, second, same, recipe.caption_scale)
    adam.zero_grad()
    (loss + recipe.caption_weight * kept).backward()
    parameters = list(model.parameters())
    average_gradients(parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    adam.step()
    with torch.no_grad():
        model.log_logit_scale.clamp_(max=math.log(100))
    return float(loss.detach())


def main() -> None:
    """Parse the arguments, draw the data and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=sorted(RECIPES), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="weights file; by default that of the package")
    arguments = parser.parse_args()
    out = arguments.out or phantomclip.weights_file(arguments.variant)
    if not phantomclip.TOKENIZER.exists():
        train_tokenizer(phantomclip.TOKENIZER)
    started = time.perf_counter()
    Phantoms(per_class=RECIPES[arguments.variant].per_class).load("train")
    Phantoms().load("val")
    print(f"images ready after {time.perf_counter() - started:.0f} s", flush=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "rendezvous")
        multiprocessing.spawn(
            train, (arguments.variant, arguments.seed, address, out), nprocs=PROCESSES
        )


if __name__ == "__main__":
    main()
