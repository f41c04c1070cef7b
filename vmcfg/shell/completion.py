"""Scripts that complete vmcfg's commands, options and values in bash, zsh and fish, without
starting vmcfg.
"""

from __future__ import annotations

from shlex import quote

from vmcfg.shell.command_line import (
    DESCRIPTIONS,
    FILES,
    FREE,
    LIST,
    WORDS,
    Argument,
    Command,
    Option,
    Values,
    commands,
    group_options,
)

HEADING = "# Completion of vmcfg in {shell}, made by `python -m vmcfg.shell`: not to be edited.\n"

_BASH = """
_vmcfg_words() {{
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}}

# Words with commas between: the last is completed.
_vmcfg_list() {{
    local before=
    [[ $cur == *,* ]] && before=${{cur%,*}},
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "${{cur##*,}}")
}}

# Names as they are, not as they are quoted on the line; with `filenames` readline quotes what it takes.
_vmcfg_files() {{
    local name=${{cur//\\\\/}}
    name=${{name#[\\"\\']}}
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$name")
}}

_vmcfg_descriptions() {{
    local name=${{cur//\\\\/}}
    name=${{name#[\\"\\']}}
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(
        compgen -d -- "$name"
        compgen -f -X '!*.yaml' -- "$name"
        compgen -f -X '!*.yml' -- "$name"
    )
}}

_vmcfg() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} command=
    COMPREPLY=()
    # readline cuts --option=value in three.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    ((COMP_CWORD > 1)) && command=${{COMP_WORDS[1]}}
    case $command in
        '')
            _vmcfg_words {commands}
            ;;
{cases}    esac
}}

complete -F _vmcfg vmcfg
"""  # noqa: E501  # a comment of the script


def bash() -> str:
    """The script for bash 4 and later."""
    every = commands()
    names = [command.name for command in every] + [
        name for option in group_options() for name in option.names
    ]
    cases = "".join(map(_bash_case, every))
    return HEADING.format(shell="bash") + _BASH.format(commands=quote(" ".join(names)), cases=cases)


def _bash_case(command: Command) -> str:
    lines = [f"        {command.name})"]
    taking = [option for option in command.options if option.values is not None]
    if taking:
        lines.append("            case $prev in")
        for option in taking:
            names = " | ".join(option.names)
            call = _bash_call(option.values)
            # What may be anything is not guessed at.
            action = f"{call}; return" if call else "return"
            lines.append(f"                {names}) {action} ;;")
        lines.append("            esac")
    options = " ".join(name for option in command.options for name in option.names)
    lines.append("            if [[ $cur == -* ]]; then")
    lines.append(f"                _vmcfg_words {quote(options)}")
    call = _bash_call(command.arguments[0].values) if command.arguments else ""
    if call:
        lines += ["            else", f"                {call}"]
    lines += ["            fi", "            ;;"]
    return "\n".join(lines) + "\n"


def _bash_call(values: Values | None) -> str:
    if values is None or values.kind == FREE:
        return ""
    if values.kind in (WORDS, LIST):
        return f"_vmcfg_{values.kind} {quote(' '.join(values.words))}"
    return f"_vmcfg_{values.kind}"


_ZSH = """
_vmcfg() {{
    local curcontext=$curcontext state
    local -a line commands
    _arguments -C \\
{options}        '1:command:->command' \\
        '*::argument:->argument'
    case $state in
        command)
            commands=(
{commands}            )
            _describe -t commands 'command of vmcfg' commands
            ;;
        argument)
            case $line[1] in
{cases}            esac
            ;;
    esac
}}

_vmcfg "$@"
"""


def zsh() -> str:
    """The script for zsh, a function to be found on its path."""
    every = commands()
    listed = "".join(
        f"                {_in_zsh(_escaped(command.name) + ':' + command.summary)}\n"
        for command in every
    )
    options = "".join(f"        {_zsh_option(option)} \\\n" for option in group_options())
    cases = "".join(map(_zsh_case, every))
    return (
        "#compdef vmcfg\n"
        + HEADING.format(shell="zsh")
        + _ZSH.format(options=options, commands=listed, cases=cases)
    )


def _in_zsh(text: str) -> str:
    """One word of zsh, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """A text in a specification of _arguments, where brackets and colons have a meaning."""
    return "".join(f"\\{char}" if char in "[]:\\" else char for char in text)


def _zsh_case(command: Command) -> str:
    specs = [*map(_zsh_option, command.options), *map(_zsh_argument, command.arguments)]
    lines = " \\\n".join(f"                        {spec}" for spec in specs)
    return (
        f"                {command.name})\n"
        "                    _arguments -s \\\n"
        f"{lines}\n"
        "                    ;;\n"
    )


def _zsh_option(option: Option) -> str:
    """An option as _arguments wants it: ``'(-o --output)'{-o+,--output=}'[Help]:FILE:_files'``."""
    taken = ""
    if option.values is not None and option.metavar is not None:
        told = option.metavar
        if option.values.kind in (WORDS, LIST):
            told = option.names[-1].lstrip("-")
        taken = f":{_escaped(told)}:{_zsh_action(option.values)}"
    spec = _in_zsh(f"[{_escaped(option.help)}]{taken}")
    names = [name + _zsh_end(name, option.values) for name in option.names]
    if len(names) == 1:
        return names[0] + spec
    exclusive = _in_zsh(f"({' '.join(option.names)})")
    return f"{exclusive}{{{','.join(names)}}}{spec}"


def _zsh_end(name: str, values: Values | None) -> str:
    """What tells zsh that a value follows, behind ``=`` or in the same word, or in the next one."""
    if values is None:
        return ""
    return "=" if name.startswith("--") else "+"


def _zsh_argument(argument: Argument) -> str:
    place = "*" if argument.many else ""
    return _in_zsh(f"{place}:{_escaped(argument.metavar)}:{_zsh_action(argument.values)}")


def _zsh_action(values: Values) -> str:
    if values.kind == WORDS:
        return f"({' '.join(values.words)})"
    if values.kind == LIST:
        return f"_sequence compadd - {' '.join(values.words)}"
    return {FREE: " ", FILES: "_files", DESCRIPTIONS: '_files -g "*.(yaml|yml)"'}[values.kind]


_FISH = """
function __vmcfg_in --description 'Whether this command of vmcfg is being typed'
    set --local words (commandline --tokenize --cut-at-cursor --current-process)
    test (count $words) -gt 1; and test "$words[2]" = "$argv[1]"
end

function __vmcfg_alone --description 'Whether no command of vmcfg has been typed'
    test (count (commandline --tokenize --cut-at-cursor --current-process)) -eq 1
end

complete --command vmcfg --no-files
"""


def fish() -> str:
    """The script for fish 3 and later."""
    lines = [HEADING.format(shell="fish"), _FISH]
    lines += [_fish_option("__vmcfg_alone", option) for option in group_options()]
    for command in commands():
        lines.append(
            f"complete -c vmcfg -n __vmcfg_alone -a {command.name} -d {_in_fish(command.summary)}\n"
        )
    for command in commands():
        condition = _in_fish(f"__vmcfg_in {command.name}")
        lines += [_fish_option(condition, option) for option in command.options]
        if command.arguments:
            lines.append(
                f"complete -c vmcfg -n {condition} {_fish_values(command.arguments[0].values)}\n"
            )
    return "".join(lines)


def _in_fish(text: str) -> str:
    """One word of fish, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_option(condition: str, option: Option) -> str:
    names = "".join(
        f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names
    )
    takes = "" if option.values is None else f" -r {_fish_values(option.values)}"
    return f"complete -c vmcfg -n {condition}{names}{takes} -d {_in_fish(option.help)}\n"


def _fish_values(values: Values) -> str:
    if values.kind in (WORDS, LIST):
        return f"-f -a {_in_fish(' '.join(values.words))}"
    return "-f" if values.kind == FREE else "-F"
