"""An application that a Paste Deployment file describes."""

from dataclasses import dataclass

from greenhorn.config.ini import paste_file
from greenhorn.config.parsers import key_values, optional
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class PasteSettings:
    """The file, and what it is told."""

    paste: str | None = setting(
        ("--paste", "--paster"),
        default=None,
        parse=optional(paste_file),
        meta="FILE",
        doc="""Paste Deployment file that describes the application, as FILE or FILE#SECTION. That takes the package
            PasteDeploy (`pip install greenhorn[paste]`). Its section [server:main] is read as well if that says use =
            egg:greenhorn#main or egg:gunicorn#main; everything else comes before what it says. So does its section
            [loggers], as logconfig.""",
        differs="""leaves [server:main] out with this flag.""",
    )
    raw_paste_global_conf: tuple[str, ...] = setting(
        ("--paste-global",),
        default=(),
        parse=key_values,
        meta="KEY=VALUE",
        repeats=True,
        doc="""Variables for the Paste Deployment file. The flag may be given several times, and a file may hold a
            list. A backslash before an equals sign makes it part of the key.""",
    )
