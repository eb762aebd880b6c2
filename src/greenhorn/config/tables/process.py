"""What is started, where, and with which surroundings."""

from dataclasses import dataclass

from greenhorn.config.parsers import assignments, directories, directory, optional, path, switch, text
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """The configuration file, the application and the process that loads them."""

    config: str | None = setting(
        ("-c", "--config"),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""Configuration file: PATH or file:PATH for a file of Python code, python:MODULE for an
            importable module. Its global variables that are named like a setting are taken. Without this
            flag ./greenhorn.conf.py is read, else ./gunicorn.conf.py, if there is one. In a configuration
            file itself the name means nothing.""",
        differs="""./gunicorn.conf.py only. A file of greenhorn's own comes first, so that one directory
            can serve both.""",
    )
    wsgi_app: str | None = setting(
        default=None,
        parse=optional(text),
        doc="""The application, as MODULE, MODULE:NAME or MODULE:FACTORY(ARGUMENTS). Without a name it is
            the module's `application`. APP_MODULE on the command line comes first.""",
    )
    chdir: str = setting(
        ("--chdir",),
        default=".",
        parse=directory,
        meta="DIRECTORY",
        doc="""Directory to change to before the application is loaded; it is also put first on sys.path.
            Default configuration files are looked for in the directory greenhorn was started in, not
            here.""",
    )
    pythonpath: tuple[str, ...] = setting(
        ("--pythonpath",),
        default=(),
        parse=directories,
        meta="DIRECTORIES",
        doc="""Directories, separated by commas, to put first on sys.path, in the written order. A
            relative one counts from chdir. In force for --check-config as well.""",
    )
    raw_env: tuple[str, ...] = setting(
        ("-e", "--env"),
        default=(),
        parse=assignments,
        meta="KEY=VALUE",
        repeats=True,
        doc="""Environment variables to set before the application is loaded. The flag may be given
            several times, and a file may hold a list. In force for --check-config as well.""",
    )
    check_config: bool = setting(
        ("--check-config",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Check the settings and the addresses and load the application, then exit: 0 if all is well,
            else 1. Nothing listens.""",
    )
    print_config: bool = setting(
        ("--print-config",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Print every setting with its value and where that came from, then do as --check-config. The
            lines are Python, in the form of a configuration file.""",
    )
    tmp_upload_dir: str | None = setting(
        ("--tmp-upload-dir",),
        default=None,
        parse=optional(directory),
        meta="DIRECTORY",
        doc="""Directory for the temporary files of large request bodies and of answers that wait for slow
            clients. The default is the system's (TMPDIR, else mostly /tmp). The files have no name and
            vanish with their request.""",
        differs="""has the name, without a flag and without effect.""",
    )
