"""The recipes of the images, read: an image's Dockerfile and its .def take the same steps, from what is pinned."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CONTAINERS = Path(__file__).resolve().parents[2] / "containers"
IMAGES = sorted(path.parent.name for path in CONTAINERS.glob("*/Dockerfile"))
every_image = pytest.mark.parametrize("image", IMAGES)


@dataclass
class Stage:
    """What both languages say of a stage, in their order; $NAME and {{ NAME }} of an argument are <NAME>."""

    base: str = ""
    name: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str, str]] = field(default_factory=list)  # stage or "", source, target
    environment: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def say(self, text: str) -> list[str]:
        """The commands of a text, one a line or joined by &&."""
        for name in self.arguments:
            text = re.sub(rf"\$\{{{name}\}}|\${name}\b|\{{\{{ {name} \}}\}}", f"<{name}>", text)
        return [" ".join(command.split()) for line in lines(text) for command in line.split(" && ")]


def lines(text: str) -> list[str]:
    """Without comments and empty lines; what a backslash continues is one."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def dockerfile(text: str) -> list[Stage]:
    """Its stages; an argument given before the first belongs to each."""
    everywhere = Stage()
    stages = [everywhere]
    for line in lines(text):
        word, rest = line.split(None, 1)
        stage = stages[-1]
        match word:
            case "FROM":
                stage = Stage(arguments=dict(everywhere.arguments))
                base, _, name = rest.partition(" AS ")
                (stage.base,), stage.name = stage.say(base), name
                stages.append(stage)
            case "ARG":
                name, _, value = rest.partition("=")
                stage.arguments[name] = value or everywhere.arguments.get(name, "")
            case "COPY":
                words = shlex.split(rest)
                origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
                stage.files += [(origin, source, words[-1]) for source in words[:-1]]
            case "ENV":
                stage.environment += shlex.split(rest)
            case "LABEL":
                stage.labels += [shlex.split(said)[0] for said in stage.say(rest.replace(" ", "\n"))]
            case "RUN":
                stage.steps += stage.say(rest)
            case _:
                raise ValueError(f"{word}: not known to the .def's side of this test")
    return stages[1:]


def definition(text: str) -> list[Stage]:
    """Its stages; %test comes last, as the last RUN does."""
    return [_stage(part) for part in re.split(r"^(?=Bootstrap: )", text, flags=re.M)[1:]]


def _stage(text: str) -> Stage:
    head, *parts = re.split(r"^%", text, flags=re.M)
    sections = {title: body for title, _, body in (part.partition("\n") for part in parts)}
    if len(sections) != len(parts):
        raise ValueError("a section stands twice")
    header = dict(line.split(": ") for line in lines(head))
    arguments = dict(line.strip().split("=", 1) for line in lines(sections.pop("arguments")))
    if (header.pop("Bootstrap"), arguments.pop("BOOTSTRAP")) != ("{{ BOOTSTRAP }}", "docker"):
        raise ValueError("where the base comes from is to be an argument, by default docker")
    stage = Stage(arguments=arguments, name=header.pop("Stage", ""))
    (stage.base,) = stage.say(header.pop("From"))
    for title in [title for title in sections if title.startswith("files")]:
        origin = title.removeprefix("files").removeprefix(" from ")
        stage.files += [(origin, *shlex.split(line)) for line in lines(sections.pop(title))]
    stage.environment = [line.strip().removeprefix("export ") for line in lines(sections.pop("environment", ""))]
    stage.labels = [said.replace(" ", "=", 1) for said in stage.say(sections.pop("labels", ""))]
    stage.steps = stage.say(sections.pop("post")) + stage.say(sections.pop("test", ""))
    if header or sections:
        raise ValueError(f"{[*header, *sections]}: not known to the Dockerfile's side of this test")
    return stage


def docker_text(image: str) -> str:
    return (CONTAINERS / image / "Dockerfile").read_text()


def def_text(image: str) -> str:
    return (CONTAINERS / image / f"{image}.def").read_text()


@every_image
def test_dockerfile_and_def_take_the_same_steps(image: str) -> None:
    assert definition(def_text(image)) == dockerfile(docker_text(image))


@every_image
def test_no_line_of_a_def_goes_unread(image: str) -> None:
    whole = def_text(image).splitlines()
    stages = definition("\n".join(whole))
    for at, line in enumerate(whole):
        if line.strip() and not line.startswith(("#", "%test")):
            with suppress(KeyError, ValueError):
                assert definition("\n".join(whole[:at] + whole[at + 1 :])) != stages, line


@every_image
def test_the_base_is_pinned_by_digest(image: str) -> None:
    for stage in dockerfile(docker_text(image)):
        assert stage.base == "<BASE>"
        # no tag beside it: Apptainer before 1.4 refuses both
        assert re.fullmatch(r"docker\.io/[\w/-]+@sha256:[0-9a-f]{64}", stage.arguments["BASE"])


@every_image
def test_any_builder_will_do(image: str) -> None:
    """The classic one, BuildKit, podman and buildah."""
    assert not re.search(r"--(mount|link|chmod|parents|security|network)\b|<<|# *syntax=", docker_text(image))


@every_image
def test_of_the_build_stage_only_the_packages_are_kept(image: str) -> None:
    *before, last = dockerfile(docker_text(image))
    assert [stage.name for stage in before] == ["build"]
    assert [copied for copied in last.files if copied[0]] == [("build", "/opt/venv", "/opt/venv")]
    for _, source, target in last.files[1:]:
        assert Path(source).suffix == ".py" and target == "/opt/image/"


@every_image
def test_what_is_copied_is_there(image: str) -> None:
    for stage in dockerfile(docker_text(image)):
        for origin, source, _ in stage.files:
            assert origin or [*CONTAINERS.glob(source)], source


@every_image
def test_the_last_step_is_the_smoke_test(image: str) -> None:
    *_, last = dockerfile(docker_text(image))
    assert ("", f"{image}/smoke.py", "/opt/image/") in last.files
    assert last.steps[-1] == "/opt/venv/bin/python /opt/image/smoke.py"
    assert def_text(image).rstrip().endswith(f"%test\n    {last.steps[-1]}")


@every_image
def test_an_image_says_what_it_is(image: str) -> None:
    *_, last = dockerfile(docker_text(image))
    assert f"org.opencontainers.image.title={image}" in last.labels
    assert {"org.opencontainers.image.revision=<COMMIT>", "recipe=<RECIPE>"} < set(last.labels)
    manifest = f'/opt/venv/bin/python /opt/image/manifest.py {image} "<RECIPE>" "<COMMIT>" "<BASE>"'
    assert manifest in last.steps and ("", "manifest.py", "/opt/image/") in last.files
    ours = ["PATH=/opt/venv/bin:$PATH", "LANG=C.UTF-8", "PYTHONNOUSERSITE=1", "TORCHINDUCTOR_CACHE_DIR=/opt/image"]
    assert last.environment[:4] == ours


@pytest.mark.parametrize("lock", sorted(CONTAINERS.glob("*/*.txt")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_locks_are_hashed_and_name_no_registry(lock: Path) -> None:
    for line in lines(lock.read_text()):
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+( ; [^\\]+)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line), line


def pins(*locks: str) -> dict[str, set[str]]:
    """package -> its versions in locks, which may have one for each of several Pythons."""
    found: dict[str, set[str]] = {}
    for lock in locks:
        for line in lines((CONTAINERS / lock).read_text()):
            name, version = line.split()[0].split("==")
            found.setdefault(name, set()).add(version)
    return found


def test_mmsegmentation_has_the_images_versions_locally() -> None:
    locally, image = pins("local/mmseg.txt"), pins("segmentation/requirements.txt", "segmentation/source.txt")
    assert locally.pop("opencv-python-headless") == image["opencv-python"]
    assert {name: image.get(name) for name in locally} == locally
    assert not {"onedl-mmsegmentation", "onedl-mmcv", "onedl-mmengine"} & pins("core/requirements.txt").keys()
