"""What is started, where, and with which surroundings."""

from dataclasses import dataclass

from greenhorn.config.identity import group, umask, user
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
    preload_app: bool = setting(
        ("--preload",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Load the application in the master, before the workers are forked. They start at once and share the
            memory of what was loaded.""",
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
    worker_tmp_dir: str | None = setting(
        ("--worker-tmp-dir",),
        default=None,
        parse=optional(directory),
        meta="DIRECTORY",
        doc="""Accepted for configurations of gunicorn, without effect. Workers show over a socket pair that they are
            alive; there is no file on whose disk it could depend.""",
        moot="workers show over a socket pair that they are alive, without a file",
        differs="""the directory of the files by which workers show that they are alive.""",
    )


@dataclass(frozen=True, kw_only=True)
class DutySettings:
    """What a service of the system owes to it: background, pidfile, identity, name."""

    daemon: bool = setting(
        ("-D", "--daemon"),
        default=False,
        parse=switch,
        bare=True,
        doc="""Go to the background, detached from the terminal. Service managers such as systemd do without.""",
    )
    pidfile: str | None = setting(
        ("-p", "--pid"),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""File for the process id of the master. A relative one counts from chdir. During an upgrade the new master
            writes FILE.2 until the old one has left.""",
    )
    user: int | None = setting(
        ("-u", "--user"),
        default=None,
        parse=optional(user),
        meta="USER",
        doc="""User that the workers run as, and that unix sockets belong to: a name or an id. Unset = the user that
            starts greenhorn.""",
    )
    group: int | None = setting(
        ("-g", "--group"),
        default=None,
        parse=optional(group),
        meta="GROUP",
        doc="""Group that the workers run as, and that unix sockets belong to: a name or an id. Unset = the group that
            greenhorn is started with.""",
    )
    umask: int = setting(
        ("-m", "--umask"),
        default=0,
        parse=umask,
        meta="MASK",
        doc="""Bits that the mode of unix sockets lacks, as in 0007 or 0o7; a leading zero makes text octal. It is in
            force only while they are made; the application keeps the mask that greenhorn was started with.""",
    )
    initgroups: bool = setting(
        ("--initgroups",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Give the workers all groups that user is a member of.""",
    )
    proc_name: str | None = setting(
        ("-n", "--name"),
        default=None,
        parse=optional(text),
        meta="NAME",
        doc="""Name by which ps and top show the processes, as in "greenhorn: master [NAME]". That takes the package
            setproctitle (`pip install greenhorn[setproctitle]`). Unset = default_proc_name.""",
    )
    default_proc_name: str = setting(
        default="greenhorn",
        parse=text,
        doc="""Name of the processes where proc_name is unset. It is the name of the application, as in APP_MODULE, if
            one is given and the file does not say otherwise.""",
        differs="""`gunicorn`, and the name of the application only if the command line gives it.""",
    )
