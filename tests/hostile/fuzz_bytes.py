"""One reader on bytes that atheris makes, guided by which lines they reach: ``python fuzz_bytes.py FORMAT SECONDS``.

The package atheris is no dependency: ``pip install atheris`` (Linux, CPython 3.11 and later). It begins with the sound
file of the format. What is neither read nor refused with a FileError within a second, or does anything else, ends it
with a status that is not 0; libFuzzer writes that input to ``crash-...`` in the folder it is called in.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

with atheris.instrument_imports(include=["lstmcore", "lstmcore_tensorflow"]):
    import lstmcore
    import lstmcore.interop.keras.files
    import lstmcore.interop.own
    import lstmcore.interop.pytorch.files

import reading  # noqa: E402
import samples  # noqa: E402
from watched import INSTALLED  # noqa: E402


def main(name: str, seconds: str) -> None:
    INSTALLED.append(os.path.dirname(os.path.dirname(atheris.__file__)))
    with tempfile.TemporaryDirectory() as folder:
        job = samples.jobs(name, Path(folder) / "sound")[0]
        source = os.path.normpath(os.path.join(job["path"], job.get("part", "")))
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "sound").write_bytes(Path(source).read_bytes())
        for words in ({"spec": job["spec"]} if "spec" in job else {}, {}):  # whatever a first reading loads
            reading.told({**job, **words})

        def one(data: bytes) -> None:
            Path(source).write_bytes(data)
            answer = reading.run({key: job[key] for key in job if key not in ("part", "seal", "format")})
            wrong = answer["result"] == "raised" or answer["done"] or answer["seconds"] > reading.SECONDS
            if wrong or answer["rise"] > reading.MEBIBYTES:
                raise AssertionError(answer)

        options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=30", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    assert lstmcore.__file__
    main(sys.argv[1], sys.argv[2])
