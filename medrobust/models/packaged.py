"""Models whose sizes are in no file of their publishers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .architectures import packaged
from .hub import HubSource


@dataclass
class PackagedSource(HubSource):
    """Base of the models that are built by a table of sizes.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
    """

    config: str = ""

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {"config": packaged(self.config)}

    def opened(self) -> tuple[dict[str, Path], dict[str, Any], int]:
        """Find the files and look up the sizes: what loading begins with.

        Returns:
            Name -> path in the order of `wanted`; the table; the side of the input in pixels.

        Raises:
            WeightsNotFoundError: If files are missing.
            UnknownNameError: If `config` names no table.
            ConfigurationError: If `resolution` is another side, or another one is asked for.
        """
        files = self.files()
        architecture = packaged(self.config)
        size: int = architecture.get("vision_cfg", architecture)["image_size"]
        self.check_resolution(size)
        return files, architecture, size
