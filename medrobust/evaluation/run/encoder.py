"""The Trainer and the module that encode the images of a job."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from medrobust.base.reasons import reason_of
from medrobust.engine.encode import EncodeImages
from medrobust.engine.loader import CorruptedBatches, kept_bytes
from medrobust.engine.passes import Pass
from medrobust.engine.quiet import quiet_lightning
from medrobust.evaluation.environment import describe_device
from medrobust.evaluation.experiment import AskedModel, How, single_device
from medrobust.evaluation.resources import Resources
from medrobust.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


class Encoder:
    """One Trainer and one module for all cells of a job, made when they are first needed.

    Args:
        asked: The model.
        how: Trainer, batch size and workers.
        resources: Loads the model.
    """

    def __init__(self, asked: AskedModel, how: How, resources: Resources) -> None:
        self._asked, self._how = asked, how
        self._resources = resources
        self._batch_size: int | None = None
        self._short = False  # of memory: no clean images are kept for later passes
        self._module: EncodeImages | None = None
        self._trainer: Trainer | None = None

    @property
    def device(self) -> str:
        """Name of the device that cells were encoded on; of the CPU if none was."""
        return describe_device(
            None if self._trainer is None else self._trainer.strategy.root_device
        )

    @property
    def batch_size(self) -> int:
        """Images read and corrupted at a time.

        Raises:
            ConfigurationError: If the Trainer cannot be made.
        """
        if self._batch_size is None:
            on_gpu = self._ready_trainer().strategy.root_device.type == "cuda"
            self._batch_size = self._how.images_at_once(on_gpu=on_gpu)
        return self._batch_size

    @property
    def rows_seen(self) -> int:
        """Images of a pass that has begun and not ended."""
        return 0 if self._module is None else self._module.rows_seen

    def load(self) -> None:
        """Load the model and make the Trainer, unless that was done before.

        Raises:
            MedRobustError: As the model raises it.
        """
        self._ready_trainer()
        self._ready_module()

    def encode(self, passes: Sequence[Pass]) -> None:
        """Encode the images of passes in one test run; each gets its features.

        Raises:
            torch.OutOfMemoryError: If memory does not suffice for batches of that size.
            KeyboardInterrupt: If the user stops it.
        """
        trainer, module = self._ready_trainer(), self._ready_module()
        device = trainer.strategy.root_device
        module.begin(passes)
        batches = CorruptedBatches(
            passes,
            batch_size=self.batch_size,
            num_workers=self._how.num_workers,
            device=device,
            kept_bytes=0 if self._short else kept_bytes(device),
        )
        try:
            with closing(batches), quiet_lightning():
                trainer.test(module, batches, verbose=False)
        except SystemExit as stopped:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from stopped

    def go_on_with(self, batch_size: int) -> None:
        """Take smaller batches from now on, after memory did not suffice."""
        self._batch_size, self._short = batch_size, True
        torch.cuda.empty_cache()

    def forget_trainer(self) -> None:
        """Make a new Trainer next time: an error may have left this one in the middle."""
        self._trainer = None

    def _ready_module(self) -> EncodeImages:
        if self._module is None:
            model = self._resources.model(self._asked)
            self._module = EncodeImages(model, self._asked.source.micro_batch)
        return self._module

    def _ready_trainer(self) -> "Trainer":
        if self._trainer is None:
            build = single_device(self._how.trainer)
            try:
                with quiet_lightning():
                    self._trainer = build(
                        logger=False,
                        enable_checkpointing=False,
                        enable_progress_bar=False,
                        enable_model_summary=False,
                        use_distributed_sampler=False,
                    )
            except (MisconfigurationException, ValueError, TypeError) as error:
                raise ConfigurationError(
                    f"the trainer cannot be made: {reason_of(error)}."
                ) from error
        return self._trainer
