"""Models and adapters onto the hub, each with a card that says what it is and how it is used."""

from __future__ import annotations

import logging
import os
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

CARD_NAME = "README.md"
NOT_STATED = "not stated"


@dataclass(frozen=True)
class HubCard:
    """What the page of a model on the hub says.

    Attributes:
        title: Its name.
        summary: One paragraph.
        facts: Rows of a table.
        code: How it is loaded and used, in Python.
        license: As the hub calls it ("apache-2.0"); None: not stated.
        base_model: Hub id of what it was trained on.
        training: What it has learned from, and how; a paragraph or more.
        tags: Words that it is found by.
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    code: str
    license: str | None = None
    base_model: str | None = None
    training: str = ""
    tags: tuple[str, ...] = field(default=("stylecrafter", "style-transfer"))

    def text(self) -> str:
        """Front matter, as the hub reads it, and the page."""
        from huggingface_hub import ModelCardData

        head = ModelCardData(
            library_name="stylecrafter",
            license=self.license,
            base_model=self.base_model,
            tags=list(self.tags),
        )
        rows = {**self.facts, "licence": self.license or NOT_STATED}
        table = "\n".join(
            ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
        )
        training = f"## Training\n\n{self.training or 'Nothing is stated about its training.'}"
        parts = [f"---\n{head.to_yaml()}\n---", f"# {self.title}", self.summary, table]
        return "\n\n".join([*parts, f"## Use\n\n```python\n{self.code}\n```", training]) + "\n"


class PushedWithCard:
    """Mixin in front of diffusers' models and pipelines: what is pushed to the hub says what it is."""

    @abstractmethod
    def hub_card(
        self, repo_id: str, license: str | None = None, base_model: str | None = None, training: str = ""
    ) -> HubCard:
        """What its page says."""

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        subfolder: str | None = None,
        *,
        license: str | None = None,
        base_model: str | None = None,
        training: str = "",
    ) -> str:
        """Upload the files and a model card; what diffusers' method of the same name takes, and what the card says.

        A card that is there already stays as it is, and so does that of a repository into whose subfolder this goes.

        Args:
            repo_id: "owner/name"; made if it is not there.
            commit_message: Of the upload.
            private: Whether a new repository is private; None: as the owner has it.
            token: For the hub; None: the one that is kept by `hf auth login`.
            create_pr: Propose the upload instead of making it.
            safe_serialization: False writes torch files.
            variant: In the names of the weights ("fp16").
            subfolder: Of the repository.
            license: As the hub calls it ("apache-2.0"); None: what the folder says that it was loaded from.
            base_model: Hub id of the base model that it belongs to.
            training: What it has learned from, and how.

        Returns:
            The address of the upload.
        """
        from huggingface_hub import create_repo, file_exists, upload_folder

        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        card = self.hub_card(repo_id, license=license, base_model=base_model, training=training)
        with tempfile.TemporaryDirectory() as folder:
            saved: Any = self
            saved.save_pretrained(folder, safe_serialization=safe_serialization, variant=variant)
            if subfolder is None:
                if file_exists(repo_id, CARD_NAME, token=token):
                    logger.warning("%s has a %s, which stays as it is.", repo_id, CARD_NAME)
                else:
                    Path(folder, CARD_NAME).write_text(card.text(), encoding="utf-8")
            return upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                token=token,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                create_pr=create_pr,
                path_in_repo=subfolder,
            )


def license_of(folder: str | os.PathLike[str]) -> str | None:
    """The licence that the card of a model folder states; None where it states none."""
    from stylecrafter.weights.card import read_readme

    stated = read_readme(Path(folder) / CARD_NAME)[0].get("license")
    return str(stated) if stated else None
