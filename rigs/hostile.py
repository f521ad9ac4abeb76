"""The readers of files that may come from strangers, each with a small valid input."""

import copy
import csv
import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from medrobust.adapters import Lora, Tuned
from medrobust.adapters.artifact import RECORD, with_record
from medrobust.adapters.lora import CONFIG
from medrobust.base.split_facts import SplitFacts
from medrobust.datasets import Folder, Npz
from medrobust.datasets.own.dicom_headers import patient_id, quiet_pydicom
from medrobust.datasets.own.dicom_pixels import is_grey_dicom, read_dicom
from medrobust.datasets.own.picture_files import is_grey, read_picture
from medrobust.datasets.own.pictures import Framing, quiet_decoders
from medrobust.datasets.own.table import read_table
from medrobust.datasets.published.fetching import unpack
from medrobust.datasets.published.hdf5 import hdf5_rows
from medrobust.datasets.published.medimeta_files import MedIMetaFiles
from medrobust.evaluation.store import CellKey, CellSpec, Store
from medrobust.jobs.job_files import read_json
from medrobust.models import OpenClip, PhantomClip, TransformersClip
from medrobust.models.loading import read_checkpoint
from rigs.fuzzing import Files, Reader, png_sums

SIZE = 32
COUNT = 6

NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"99999999999999999999", b"1" * 5000, b"2.5")
JSON_WORDS = (
    *NUMBERS, b"null", b"true", b'"\\u0000"', b'"../../../etc/passwd"', b"[]", b"{}", b'"x"',
    b"[" * 20_000, b'{"a":' * 20_000, b"[1, 2, 3]", b'{"x": 1}', b'"\x1b[31m"', b"\xff\xfe",
    b'"' + b"A" * 3000 + b'"',
)  # fmt: skip
TABLE_WORDS = (
    *NUMBERS, b"../../../etc/passwd", b"/etc/passwd", b"=HYPERLINK(1)", b"<script>", b'"', b"\x00",
    b"\n", b"\r", b",", b";", b"\t", b"\xff", b"\xef\xbb\xbf", b"a" * 200_000, b"\x1b[31m",
    b"images/", b"\\..\\", "é".encode(), "\u202e".encode(), b"CON", b"images/0.png/x", b",,,,",
)  # fmt: skip


class Payload:
    """What a hostile pickle holds: loading it would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(tempfile.gettempdir()) / "medrobust-canary",)


PICKLES = (
    pickle.dumps(Payload()),
    pickle.dumps({"state_dict": Payload()}, protocol=2),
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x02cbuiltins\nexec\nX\x04\x00\x00\x00passq\x00\x85R.",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
)


def readers() -> dict[str, Reader]:
    """Return every reader by its name."""
    made = [
        *array_readers(), *table_readers(), *picture_readers(), *dicom_readers(),
        *checkpoint_readers(), *model_readers(), *store_readers(), *archive_readers(),
        *medimeta_readers(), *configuration_readers(),
    ]  # fmt: skip
    return {reader.name: reader for reader in made}


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _saved(save: Callable[[Any], None]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def _zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    def save(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    return _saved(save)


def _read_npz(folder: Path) -> None:
    file = folder / "mine.npz"
    loaded = Npz(
        file=str(file), class_names=["a", "b"], patients="patients", size=SIZE, cache_dir=None
    ).load()
    assert loaded.images.dtype == np.uint8
    assert len(loaded.images) == len(loaded.labels) == len(loaded.ids)


def array_readers() -> Iterator[Reader]:
    """Arrays: `.npz` archives, the arrays in them, HDF5."""
    arrays = {
        "images": _pixels(COUNT, SIZE, SIZE, 3),
        "labels": np.arange(COUNT) % 2,
        "patients": np.array([f"p{row // 2}" for row in range(COUNT)]),
    }
    content = _saved(lambda stream: np.savez_compressed(stream, **arrays))
    headers = (
        b"'|O'",
        b"'<f8'",
        b"(-1,)",
        b"(99999999999,)",
        b"True",
        b"'fortran_order'",
        b"{" * 300,
    )
    yield Reader("npz archives", {"mine.npz": content}, _read_npz, (*PICKLES, b"PK\x05\x06"))
    for name, array in arrays.items():

        def packed(changed: bytes, name: str = name) -> bytes:
            others = {
                f"{other}.npy": _saved(lambda stream, a=value: np.save(stream, a))
                for other, value in arrays.items()
            }
            return _zipped({**others, f"{name}.npy": changed})

        yield Reader(
            f"npy arrays ({name})",
            {"mine.npz": _saved(lambda stream, a=array: np.save(stream, a))},
            _read_npz,
            (*headers, *PICKLES, b"'|S99999999'", b"'<U4'", b"\xff" * 8),
            wrap={"mine.npz": packed},
        )
    yield Reader("HDF5 images", {"images.hdf5": _hdf5()}, _read_hdf5, (b"/etc/passwd\0",))


def _hdf5() -> bytes:
    import h5py

    def save(stream: io.BytesIO) -> None:
        with h5py.File(stream, "w") as file:
            images = _pixels(COUNT, SIZE, SIZE)
            file.create_dataset("images", data=images, chunks=(2, SIZE, SIZE), compression="gzip")

    return _saved(save)


def _read_hdf5(folder: Path) -> None:
    array = hdf5_rows(folder / "images.hdf5", "images", [3, 0, 5], count=COUNT).open()
    assert array.dtype == np.uint8
    assert len(array) == 3


def _encoded(kind: str, *shape: int, **how: Any) -> bytes:
    from PIL import Image

    return _saved(lambda stream: Image.fromarray(_pixels(*shape)).save(stream, kind, **how))


def table_readers() -> Iterator[Reader]:
    """Tables of own data: CSV through a whole data set, Parquet."""
    rows = [["path", "label", "split", "patient"]]
    rows += [[f"images/{row}.png", "ab"[row % 2], "test", f"p{row // 2}"] for row in range(COUNT)]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    pictures = {f"images/{row}.png": _encoded("PNG", SIZE, SIZE) for row in range(COUNT)}
    table = {"labels.csv": text.getvalue().encode()}
    yield Reader(
        "CSV tables",
        table,
        _read_folder,
        TABLE_WORDS,
        beside=pictures,
        named=(*pictures, "the table"),
    )
    import pyarrow
    from pyarrow import parquet

    columns = {rows[0][place]: [row[place] for row in rows[1:]] for place in range(4)}
    written = _saved(lambda stream: parquet.write_table(pyarrow.table(columns), stream))
    yield Reader(
        "Parquet tables", {"labels.parquet": written}, lambda f: read_table(f / "labels.parquet")
    )


def _read_folder(folder: Path) -> None:
    loaded = Folder(csv=str(folder / "labels.csv"), size=SIZE).load()
    assert len(loaded.images) == len(loaded.labels) == len(loaded.ids)


def picture_readers() -> Iterator[Reader]:
    """Pictures of each format that is opened."""
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "png": ("PNG", {}), "jpg": ("JPEG", {}), "tiff": ("TIFF", {"compression": "tiff_lzw"}),
        "tif": ("TIFF", {}), "bmp": ("BMP", {}), "gif": ("GIF", {}), "webp": ("WEBP", {}),
        "jp2": ("JPEG2000", {}), "ppm": ("PPM", {}),
    }  # fmt: skip
    for suffix, (kind, how) in kinds.items():
        content = _encoded(kind, SIZE + 5, SIZE, 3, **how)
        yield Reader(
            f"pictures (.{suffix})",
            {f"scan.{suffix}": content},
            _read_scan,
            (b"99999 99999", b"\x00\x00\xff\xff", b"%!PS-Adobe"),
            wrap={"scan.png": png_sums},
        )


def _read_scan(folder: Path) -> None:
    (file,) = folder.glob("scan.*")
    with quiet_decoders():
        picture = read_picture(file, Framing(SIZE), grey=is_grey(file))
    assert picture.dtype == np.uint8
    assert picture.shape[:2] == (SIZE, SIZE)


def dicom_readers() -> Iterator[Reader]:
    """DICOM files, plain and in each packing."""
    from pydicom.data import get_testdata_file

    names = {
        "plain": "MR_small.dcm", "big-endian": "MR_small_bigendian.dcm", "RLE": "MR_small_RLE.dcm",
        "JPEG": "SC_rgb_jpeg_dcmtk.dcm", "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
        "JPEG 2000": "MR_small_jp2klossless.dcm", "deflated": "image_dfl.dcm",
    }  # fmt: skip
    for packing, name in names.items():
        content = Path(str(get_testdata_file(name, download=False))).read_bytes()
        yield Reader(
            f"DICOM ({packing})", {"scan.dcm": content}, _read_dicom, (b"\xfe\xff\x00\xe0",)
        )


def _read_dicom(folder: Path) -> None:
    file = folder / "scan.dcm"
    with quiet_pydicom():
        patient_id(file)
        is_grey_dicom(file)
        picture = read_dicom(file)
    assert picture.pixels.dtype == np.uint8


def checkpoint_readers() -> Iterator[Reader]:
    """Weights: safetensors, both forms of PyTorch's files, adapter folders."""
    from safetensors.torch import save

    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3).half()}
    dtypes = (b'"F64"', b'"I64"', b'"BF16"', b"[99999999999,9999999]", *JSON_WORDS)
    yield Reader("safetensors", {"model.safetensors": save(state)}, _read_weights, dtypes)
    table = {"state_dict": state, "epoch": 3}
    new = _saved(lambda stream: torch.save(table, stream))
    old = _saved(lambda stream: torch.save(table, stream, _use_new_zipfile_serialization=False))
    yield Reader("PyTorch checkpoints", {"model.pt": new}, _read_weights, PICKLES)
    yield Reader("PyTorch checkpoints (old form)", {"model.pth": old}, _read_weights, PICKLES)
    with zipfile.ZipFile(io.BytesIO(new)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (inner,) = (name for name in parts if name.endswith("data.pkl"))
    yield Reader(
        "PyTorch checkpoints (pickles in them)",
        {"model.pt": parts[inner]},
        _read_weights,
        (*PICKLES, b"ccollections\nOrderedDict\n", b"\x8a\xff" + b"\x7f" * 255, b"(" * 5000),
        wrap={"model.pt": lambda changed: _zipped({**parts, inner: changed}, zipfile.ZIP_STORED)},
    )
    yield from adapter_readers()


def _read_weights(folder: Path) -> None:
    (file,) = folder.glob("model.*")
    assert all(isinstance(value, torch.Tensor) for value in read_checkpoint(file).values())


def adapter_readers() -> Iterator[Reader]:
    """Adapter folders: of peft alone, and with the record of this framework."""
    base = PhantomClip(variant="small").load()
    model = copy.deepcopy(base)
    recipe = Lora(rank=2)
    recipe.attach(model)
    files = recipe.files(recipe.state(model))
    files[CONFIG] = recipe.config(model, "phantomclip")
    words = (
        *JSON_WORDS, b'".*"', b'"([a-z0-9_.]+)+#"', b'"all-linear"', b'"IA3"', b'"PREFIX_TUNING"',
        b'"pissa"',         b'"bias": "all"', b'{"a": "b"}', b'"auto_mapping"', b'"https://example.org/x"',
    )  # fmt: skip

    def read(folder: Path) -> None:
        Tuned(path=str(folder)).attach(copy.deepcopy(base))

    named = ("input", "the adapter")
    yield Reader("adapter folders of peft", files, read, words, named=named)
    record = {
        "kind": "lora", "name": "lora", "label": "lora", "fingerprint": "f" * 64, "metrics": {},
        "base": {"name": "m", "source": "s", "revision": "", "weights": "w" * 64, "license": ""},
        "recipe": recipe.description(), "task": {"shot_seed": 0}, "prompts": {}, "data": [],
        "versions": {},
    }  # fmt: skip
    whole = with_record(files, record)
    beside = {name: content for name, content in whole.items() if name != RECORD}

    def judged(folder: Path) -> None:
        tuned = Tuned(path=str(folder))
        tuned.origin()
        tuned.description()
        tuned.check_base("m", "w" * 64)
        tuned.head("toy", ["a"])
        read(folder)

    yield Reader(
        "adapter records", {RECORD: whole[RECORD]}, judged, words, beside=beside, named=named
    )


def model_readers() -> Iterator[Reader]:
    """Folders of published models, in the layouts of transformers and of open_clip."""
    words = (
        *JSON_WORDS, b'"auto_map": {"AutoModel": "theirs.Model"}, ', b'"trust_remote_code": true, ',
        b'"clip"', b'"siglip"', b'"num_hidden_layers": 99999999, ', b'"hidden_size": 1e9, ',
        b'"hidden_act": "os.system", ', b'{"shortest_edge": -1}', b"[0, 0, 0]", b'"F64"', b"1e400",
        b"[99999999999,9999999]", b'"hf_model_name": "https://example.org/x", ', b'"/etc/passwd"',
        b'"timm_model_name": "vit_base_patch16_224", ', b'"type": "BPE"', b'"Regex": "(a+)+$"',
    )  # fmt: skip
    sources = {"transformers": TransformersClip, "open_clip": OpenClip}
    for layout, files in {"transformers": _clip_folder(), "open_clip": _open_clip_folder()}.items():
        source = sources[layout]

        def read(folder: Path, source: Any = source) -> None:
            tempfile.tempdir = str(folder)  # open_clip reads a configuration from a file only
            model = source("fuzzed", "nobody/nothing", local_dir=str(folder))
            model.weights_fingerprint()
            model.load()

        weights = [name for name in files if name.endswith(".safetensors")]
        for names in ([name for name in files if name not in weights], weights):
            damaged = {name: files[name] for name in names}
            beside = {name: content for name, content in files.items() if name not in names}
            kind = "weights" if names == weights else "settings"
            yield Reader(
                f"models of {layout} ({kind})", damaged, read, words, beside=beside,
                named=("fuzzed", "configuration of open_clip", *files),
            )  # fmt: skip


def _clip_folder() -> Files:
    """A CLIP of two narrow layers with a vocabulary of letters."""
    from safetensors.torch import save
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.processors import TemplateProcessing
    from transformers import CLIPConfig, CLIPModel

    narrow = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "projection_dim": 4}  # fmt: skip
    config = CLIPConfig(
        text_config={
            **narrow,
            "vocab_size": 3,
            "max_position_embeddings": 6,
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
        vision_config={**narrow, "image_size": 32, "patch_size": 16},
        projection_dim=4,
    )
    shape = {"do_center_crop": True, "do_resize": True, "do_normalize": True, "resample": 3,
             "crop_size": 32, "size": 32, "image_mean": [0.5] * 3,
             "image_std": [0.5] * 3}  # fmt: skip
    words = ("<|startoftext|>", "a", "<|endoftext|>")
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="a"))
    tokenizer.post_processor = TemplateProcessing(
        single=f"{words[0]} $A {words[2]}", special_tokens=[(words[0], 0), (words[2], 2)]
    )
    state = {name: value.contiguous() for name, value in CLIPModel(config).state_dict().items()}
    return {
        "config.json": config.to_json_string(use_diff=False).encode(),
        "preprocessor_config.json": json.dumps(shape).encode(),
        "tokenizer.json": tokenizer.to_str().encode(),
        "model.safetensors": save(state),
    }


def _open_clip_folder() -> Files:
    """The same in open_clip's layout, with its own vocabulary."""
    from open_clip import CLIP
    from safetensors.torch import save

    vision = {"image_size": 32, "layers": 1, "width": 8, "head_width": 4, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 4, "heads": 1, "layers": 1}
    said = {"embed_dim": 4, "vision_cfg": vision, "text_cfg": text}
    state = {name: value.contiguous() for name, value in CLIP(**said).state_dict().items()}
    return {
        "open_clip_config.json": json.dumps({"model_cfg": said, "preprocess_cfg": {}}).encode(),
        "open_clip_model.safetensors": save(state),
    }


def store_readers() -> Iterator[Reader]:
    """Cells, data and features of a store, and what jobs leave for reports."""
    with tempfile.TemporaryDirectory() as place:
        store, key = example_store(Path(place))
        store.write_features(key.encoding_fingerprint, np.ones((COUNT, 4), np.float32))
        files = {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in Path(place).rglob("*")
            if path.is_file()
        }
    logits = np.load(io.BytesIO(next(v for k, v in files.items() if k.endswith("logits.npy"))))

    def read(folder: Path) -> None:
        opened = Store(folder)
        (cell,) = opened.cells()
        assert np.array_equal(cell.arrays["logits"], logits)
        assert opened.has(key)
        assert opened.read_features(key.encoding_fingerprint) is not None

    words = (*JSON_WORDS, *PICKLES, b"'|O'", b"(99999999999, 3)", b"'<f8'")
    yield Reader("stores", files, read, words, named=("input",))
    plan = {"format": 1, "store": "s", "cells": [], "expected": []}
    yield Reader(
        "records of jobs",
        {"plan.json": json.dumps(plan).encode()},
        lambda folder: read_json(folder / "plan.json"),
        JSON_WORDS,
    )


def example_store(root: Path, number: int = 0) -> tuple[Store, CellKey]:
    """Write a store of one small cell."""
    data = SplitFacts(
        fingerprint="d" * 64,
        name="toy",
        split="test",
        label_kind="multi-class",
        class_names=("a", "b", "c"),
        labels=np.arange(COUNT) % 3,
        ids=np.array([f"i{row}" for row in range(COUNT)]),
    )
    spec = CellSpec("clip", "none", "toy", "test", "imagenet_c", "pixelate", number % 5 + 1, None)
    key = CellKey(spec, {"weights": f"w{number}"}, {"kind": "zero_shot"}, data.fingerprint)
    store = Store(root)
    store.write_data(data)
    values = np.random.default_rng(number).normal(size=(COUNT, 3)).astype(np.float32)
    store.write(key, {"logits": values}, {"status": "done"})
    return store, key


def archive_readers() -> Iterator[Reader]:
    """Archives of published data sets."""
    files = {f"toy/{name}": _pixels(200).tobytes() for name in ("info.yaml", "images/0.tiff")}
    words = (b"../", b"/etc/", b"toy/../../x", b"C:\\", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")

    def read(folder: Path) -> None:
        unpack(folder / "toy.zip", folder / "toy")
        assert all(path.resolve().is_relative_to(folder) for path in folder.rglob("*"))

    stored = _zipped(files, zipfile.ZIP_STORED)
    yield Reader("archives", {"toy.zip": stored}, read, words)


def medimeta_readers() -> Iterator[Reader]:
    """The small files of a MedIMeta folder: YAML, split lists, label arrays, annotations."""
    described = {
        "tasks": [
            {
                "task_name": "kind",
                "task_target": "MULTICLASS_CLASSIFICATION",
                "labels": {0: "a", 1: "b"},
            }
        ]
    }
    lines = [["filepath", "patient_id", "tasks/kind"]]
    lines += [[f"images/{row:06d}.tiff", f"p{row}", str(row % 2)] for row in range(COUNT)]
    files = {
        "info.yaml": yaml.safe_dump(described).encode(),
        "splits/test.txt": "".join(f"images/{row:06d}.tiff\n" for row in range(COUNT)).encode(),
        "annotations.csv": "".join(",".join(line) + "\n" for line in lines).encode(),
        "task_labels/kind.npy": _saved(lambda stream: np.save(stream, np.arange(COUNT) % 2)),
    }
    words = (
        *TABLE_WORDS, b"!!python/object/apply:os.system [true]", b"&a [*a, *a]", b"[" * 3000,
        b"!!python/name:os.system", b"&x {x: *x}", b"{" * 3000, b"0: 1", b"- ", b"'|O'",
    )  # fmt: skip

    def read(folder: Path) -> None:
        small = MedIMetaFiles(folder)
        small.task("kind")
        small.rows("test")
        small.labels("kind")
        small.patients()

    yield Reader("MedIMeta's small files", files, read, words, named=("input",))


def configuration_readers() -> Iterator[Reader]:
    """Folders of `--config-dir`: composed and built as the entry does it."""
    from medrobust.cli.hydra_app import composed
    from medrobust.evaluation.building import built

    options = {
        "adapter/theirs.yaml": b"# Theirs\n_target_: medrobust.adapters.Lora\nrank: 4\nalpha: 8\n",
        "experiment/theirs.yaml": b"# @package _global_\ndefaults:\n  - override /adapter: theirs\n"
        b"  - override /severity: s1\nseed: 3\nhydra:\n  mode: RUN\n",
    }
    words = (
        b"os.system", b"_target_: os.system\n", b"!!python/object/apply:os.system [true]\n",
        b"subprocess.call", b"medrobust.jobs.os.system", b"builtins.eval", b"${adapter._target_}",
        b'x: ${oc.create:"{_target_: os.system, command: true}"}\n', b"&a [*a]", b"\x00", b"\t",
        b"  job: {env_set: {PATH: /x}}\n", b"  callbacks: {x: {_target_: os.getcwd}}\n", b"\xff",
        b"[" * 3000, b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\n", *NUMBERS,
        b"_target_: medrobust.adapters.WeightTuning\n", b"hydra.utils.call", b"${oc.env:HOME}",
    )  # fmt: skip

    def read(folder: Path) -> None:
        config = composed(["--config-dir", str(folder), "experiment=theirs"])
        built(config, "adapter")

    yield Reader(
        "configuration folders", options, read, words,
        named=("adapter", "experiment", "configuration", "theirs"),
    )  # fmt: skip
