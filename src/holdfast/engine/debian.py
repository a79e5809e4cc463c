"""Take a server and every library it needs from Debian's packages, without root and beside the system.

apt does the work (mirror, proxy, signatures, hashes, dependencies) with lists, cache and package status of its
own in a temporary folder. What stays is flat: bin/ with the program, lib/ with its libraries and the loader that
fits them, licences/.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.apt_sources import AptSource, read_deb822, read_one_line, sources_for
from holdfast.engine.fetch_error import CannotFetch, plain_words, what_to_try
from holdfast.engine.receipt import Package
from holdfast.engine.recipes import DebianRecipe
from holdfast.engine.taken import Taken

APT_FOLDER = Path("/etc/apt")
APT_TIMEOUT_S = 600.0
"""For one run of apt, over a slow line too; apt itself gives up on a silent mirror after 15 s."""

_LISTED = re.compile(r"^\s*(?P<soname>\S+) => (?P<path>.+?)(?: \(0x[0-9a-f]+\))?$")
_FORGED = re.compile(r"BADSIG|REVKEYSIG|invalid signature", re.IGNORECASE)
_UNSIGNED = re.compile(r"NO_PUBKEY|not signed|gpgv|sqv|signature", re.IGNORECASE)


@dataclass(frozen=True)
class _Stanza:
    """What apt knows of one package that would be installed."""

    name: str
    version: str
    source: str
    section: str
    depends: frozenset[str]


@dataclass(eq=False)
class _ProgramFailed(CannotFetch):
    """One of apt's programs ended with an error; `said` is all that it said of it."""

    said: str


def take_packages(
    recipe: DebianRecipe,
    home: Path,
    scratch: Path,
    report: Callable[[str], None],
    unsigned: bool = False,
    apt_folder: Path = APT_FOLDER,
) -> Taken:
    """Fetch `recipe` into the existing folder `home`, with everything temporary in `scratch`.

    Args: `unsigned`, whether to go on where no signature could be checked; `apt_folder`, the machine's apt
        configuration, whose mirrors and keyrings are used.
    Raises: CannotFetch; what is then in the two folders is for the caller to remove.
    """
    for program in ("apt-get", "apt-cache", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            raise CannotFetch(
                recipe.name,
                f"it comes from {recipe.where}, and this machine has no {program}",
                "on another system install the server by its own means and name it in HOLDFAST_ENGINES",
            )
    if any(character in str(home) or character in str(scratch) for character in ':;$"\\\n'):
        raise CannotFetch(
            recipe.name,
            f"neither the loader nor apt can work in {home}: its path holds a colon, semicolon, dollar, quote, "
            "backslash or line break",
            "move the state folder: HOLDFAST_STATE",
        )
    apt = _PrivateApt(recipe, scratch)
    verified = apt.update(tuple(_configured(apt_folder)), unsigned, report)
    wanted = apt.closure()
    report(f"fetching {len(wanted)} packages of {', '.join(recipe.suites)}")
    packages = tuple(apt.download(wanted))
    root = scratch / "root"
    root.mkdir()
    for deb in sorted((scratch / "debs").glob("*.deb")):
        _run(recipe, ["dpkg-deb", "-x", str(deb), str(root)], f"unpacking {deb.name}")
    return Taken(_assemble(recipe, root, home), verified, packages)


def _configured(apt_folder: Path) -> Iterable[AptSource]:
    """The archives of the machine's own apt configuration."""
    parts = apt_folder / "sources.list.d"
    files = [apt_folder / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    for file in files:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # not for us to read: apt would not take it either, and what is missing is said later
        yield from (read_deb822 if file.suffix == ".sources" else read_one_line)(text)


class _PrivateApt:
    """apt with the machine's mirrors and keys, but lists, cache and package status of its own."""

    def __init__(self, recipe: DebianRecipe, scratch: Path) -> None:
        self._recipe = recipe
        self._scratch = scratch
        self._config = scratch / "apt.conf"
        for folder in ("lists/partial", "cache/archives/partial", "debs"):
            (scratch / folder).mkdir(parents=True)
        # Empty: nothing counts as installed, so that the closure holds every library.
        (scratch / "status").write_text("")
        architecture = self._run(["dpkg", "--print-architecture"], "asking dpkg").strip()
        self._config.write_text(_apt_config(scratch, architecture))

    def update(self, configured: Sequence[AptSource], unsigned: bool, report: Callable[[str], None]) -> str:
        """Read the suites' package lists; says how they were verified."""
        text, keyrings = sources_for(configured, self._recipe.suites)
        if not text:
            raise CannotFetch(
                self._recipe.name,
                f"it comes from {self._recipe.where}, and this machine's apt names no Debian archive",
                "install a server by this system's own means (it is then found on PATH), or name one in "
                "HOLDFAST_ENGINES",
            )
        report(f"reading the package lists of {', '.join(self._recipe.suites)}")
        sources = self._scratch / "apt.sources"
        sources.write_text(text)
        try:
            self._apt("apt-get", "update", "-o", "Acquire::Retries=0", doing="reading package lists")
        except _ProgramFailed as refused:
            if _FORGED.search(
                refused.said
            ):  # checked and wrong is worse than not checked: no option takes it
                raise CannotFetch(
                    self._recipe.name,
                    f"the archive's signature is wrong ({refused.why})",
                    "do not trust this mirror; run it again over another one",
                ) from refused
            if not _UNSIGNED.search(refused.said):
                raise
            if not unsigned:
                raise CannotFetch(
                    self._recipe.name,
                    f"the archive's signature could not be checked ({refused.why})",
                    "install the package debian-archive-keyring, or take it unchecked: "
                    f"holdfast engines add {self._recipe.name} --unsigned",
                ) from refused
            sources.write_text(sources_for(configured, self._recipe.suites, trusted=True)[0])
            self._apt("apt-get", "update", "-o", "Acquire::Retries=0", doing="reading package lists")
            report("NOT VERIFIED: no signature could be checked, and --unsigned was given")
            return "not verified: no signature could be checked (--unsigned)"
        verified = f"signature checked by apt with {' and '.join(keyrings)}"
        report(verified)
        return verified

    def closure(self) -> tuple[_Stanza, ...]:
        """The server's package, those of the same source, and the libraries they need; no scripts, no Perl."""
        package = self._recipe.package
        target = f"{package}/{self._recipe.release}-backports" if self._recipe.backports else package
        simulated = self._apt(
            "apt-get", "install", "--simulate", "--no-install-recommends", target, doing="resolving"
        )
        pins = [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) \((\S+)", simulated, re.M)]
        known = {
            stanza.name: stanza
            for stanza in _stanzas(self._apt("apt-cache", "show", *pins, doing="resolving"))
        }
        if package not in known:
            raise CannotFetch(self._recipe.name, f"apt names no package {package}", "see `apt-get update`")
        wanted: dict[str, _Stanza] = {}
        waiting = [package]
        while waiting:
            stanza = known.get(waiting.pop())
            if stanza is None or stanza.name in wanted:
                continue
            if stanza.section.endswith("libs") or stanza.source == known[package].source:
                wanted[stanza.name] = stanza
                waiting.extend(stanza.depends)
        return tuple(wanted[name] for name in sorted(wanted))

    def download(self, wanted: Sequence[_Stanza]) -> Iterable[Package]:
        """Fetch the packages; apt checks each against the hash in the signed lists."""
        folder = self._scratch / "debs"
        pins = [f"{stanza.name}={stanza.version}" for stanza in wanted]
        self._apt("apt-get", "download", *pins, doing="fetching packages", cwd=folder)
        for stanza in wanted:
            files = list(folder.glob(f"{stanza.name}_*.deb"))
            if len(files) != 1:
                raise CannotFetch(self._recipe.name, f"apt fetched no {stanza.name}", "run it again")
            yield Package(stanza.name, stanza.version, hashlib.sha256(files[0].read_bytes()).hexdigest())

    def _apt(self, program: str, *arguments: str, doing: str, cwd: Path | None = None) -> str:
        return self._run([program, "-c", str(self._config), "--quiet=2", *arguments], doing, cwd)

    def _run(self, arguments: Sequence[str], doing: str, cwd: Path | None = None) -> str:
        return _run(self._recipe, arguments, doing, cwd or self._scratch)


def _apt_config(scratch: Path, architecture: str) -> str:
    """Read after the machine's own configuration; its hooks, which act on the system, are cleared."""
    return f"""\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
Dir::State "{scratch}";
Dir::State::lists "{scratch}/lists/";
Dir::State::status "{scratch}/status";
Dir::Cache "{scratch}/cache/";
Dir::Etc::sourcelist "{scratch}/apt.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


def _stanzas(text: str) -> Iterable[_Stanza]:
    for block in text.split("\n\n"):
        fields: dict[str, str] = dict(re.findall(r"^(\S+): (.*)$", block, re.M))
        if "Package" not in fields:
            continue
        needed = fields.get("Depends", "") + "," + fields.get("Pre-Depends", "")
        yield _Stanza(
            name=fields["Package"],
            version=fields.get("Version", ""),
            source=(fields.get("Source") or fields["Package"]).split()[0],
            section=fields.get("Section", ""),
            depends=frozenset(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", needed)),
        )


def _assemble(recipe: DebianRecipe, root: Path, home: Path) -> tuple[str, ...]:
    """Copy the program, its libraries, their loader and licences out of `root`; returns the command in `home`."""
    program = _inside(recipe, root, root / recipe.program)
    loaders = [
        path
        for top in ("lib", "lib64", "usr/lib", "usr/lib64")
        for path in sorted((root / top).rglob("ld-linux*.so.*"))
        if path.is_file() and not path.is_symlink()
    ]
    if not loaders:
        raise CannotFetch(
            recipe.name, "its packages hold no loader", "report this, with `apt-cache policy libc6`"
        )
    loader = loaders[0]
    folders = sorted({loader.parent, *(path.parent for path in root.rglob("lib*.so.*") if path.is_file())})
    listed = _run(
        recipe,
        [str(loader), "--library-path", ":".join(map(str, folders)), "--list", str(program)],
        "starting the packages' own loader",
    )
    libraries = dict(_libraries(recipe, root, listed))
    for folder in folders:  # loaded by libc when a thread ends or a stack is printed: no program lists it
        if (folder / "libgcc_s.so.1").exists():
            libraries["libgcc_s.so.1"] = folder / "libgcc_s.so.1"
    for sub in ("bin", "lib", "licences"):
        (home / sub).mkdir()
    placed_program = home / "bin" / Path(recipe.program).name
    placed_loader = home / "lib" / loader.name
    for origin, target in ((program, placed_program), (loader, placed_loader)):
        shutil.copyfile(origin, target)
        target.chmod(0o755)
    for soname, path in libraries.items():
        shutil.copyfile(_inside(recipe, root, path), home / "lib" / soname)
    for licence in sorted(root.glob("usr/share/doc/*/copyright")):
        if licence.resolve().is_relative_to(root.resolve()) and licence.is_file():
            shutil.copyfile(licence, home / "licences" / licence.parent.name)
    return (str(placed_loader), "--library-path", str(home / "lib"), str(placed_program))


def _libraries(recipe: DebianRecipe, root: Path, listed: str) -> Iterable[tuple[str, Path]]:
    """Each library's name and its file, from the loader's list; all of them have to come from the packages."""
    for line in listed.splitlines():
        match = _LISTED.match(line)
        if match is None:
            continue
        if not Path(match["path"]).is_relative_to(root):
            raise CannotFetch(
                recipe.name,
                f"its packages do not hold {match['soname']}, which it needs",
                "report this with the list of packages that `--json` prints",
            )
        if not match["soname"].startswith("/"):
            yield Path(match["soname"]).name, Path(match["path"])


def _inside(recipe: DebianRecipe, root: Path, path: Path) -> Path:
    """`path` with its links followed, which have to stay within the unpacked packages."""
    real = path.resolve()
    if not real.is_relative_to(root.resolve()) or not real.is_file():
        raise CannotFetch(
            recipe.name,
            f"its packages do not hold {path.relative_to(root)}",
            "the archive may have changed it",
        )
    return real


def _run(recipe: DebianRecipe, arguments: Sequence[str], doing: str, cwd: Path | None = None) -> str:
    """Run one program of apt's, bounded; its words on failure become the error."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            list(arguments),
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=APT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise CannotFetch(
            recipe.name, f"{doing} took longer than {APT_TIMEOUT_S:g} s", "is the network up? Run it again"
        ) from late
    except OSError as refused:
        raise CannotFetch(
            recipe.name,
            f"{doing}: {arguments[0]}: {refused.strerror}",
            "is the state folder on a filesystem mounted noexec? HOLDFAST_STATE moves it",
        ) from refused
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace") or done.stdout.decode("utf-8", "replace")
        words = plain_words(said)
        raise _ProgramFailed(recipe.name, f"{doing}: {words}", what_to_try(words), said)
    return done.stdout.decode("utf-8", "replace")
