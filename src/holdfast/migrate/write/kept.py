"""What the mode `write` has at hand of its job: the journal, its own notes in it, and the password of its own user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from secrets import token_urlsafe
from typing import Any

from holdfast.engine.connection import Credentials
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import End, Side
from holdfast.migrate.settings import Book
from holdfast.migrate.write.notes import Notes

USER_PREFIX = "holdfast-migrate-"
TOKEN_BYTES = 32


@dataclass
class Kept:
    """The journal in hand, and the password of our own user, which is kept apart from it."""

    folder: JobFolder
    book: Book
    secrets: dict[str, Any]
    """All that secrets.json holds."""

    @property
    def notes(self) -> Notes:
        """What this mode remembers."""
        return Notes.from_json(self.book.journal.more)

    def note(self, notes: Notes) -> None:
        """Remember it, on disk first."""
        self.book.write(more=notes.to_json())

    def own(self) -> Credentials:
        """Our own user; its password is on disk before any server is told it."""
        own = dict(self.secrets.get("own", {}))
        if "user" not in own:
            own["user"] = token_urlsafe(TOKEN_BYTES)
            self.secrets["own"] = own
            self.folder.write("secrets", self.secrets)
        return Credentials(f"{USER_PREFIX}{self.book.journal.name}", str(own["user"]))

    def writable(self, side: Side) -> End:
        """That end, spoken to as somebody who may write to it."""
        end = self.book.journal.end(side)
        return replace(end, credentials=self.own()) if side in self.notes.users else end
