#!/bin/sh
# Sets up every VM in a directory: checks all descriptions first, then executes the commands of each in order.
# Use it to start from: replace set_attr and set_reg, which here only print their arguments.
#
#     provision.sh DIRECTORY     all *.yaml and *.yml files in it, except hidden ones
#
# Exit codes: 0 all executed, 1 errors found, 2 usage error, 3 vmcfg could not do its work, 4 unknown command in a plan.
set -eu

# ---- Replace from here -----------------------------------------------------------------------------------------------
# Both are called with the last five fields of a line of the plan: target, group, attribute, type, and value.
# `man vmcfg-emit` lists everything that they can contain, as does REFERENCE.md under "The six fields".
# `vmcfg emit --numbers` prints numbers instead of names.
# A command that fails must end the script, as `set -e` does: later commands of the plan depend on it.

set_attr() { # KVM_SET_DEVICE_ATTR
    printf 'set-attr %s %s %s %s %s\n' "$@"
}

set_reg() { # KVM_SET_ONE_REG
    printf 'set-reg %s %s %s %s %s\n' "$@"
}

# ---- to here ---------------------------------------------------------------------------------------------------------

perform() { # FILE
    # A separate assignment, so that the exit code of emit ends the script: in a pipe or a here-document, the shell
    # discards the exit code and continues with 0.
    plan=$(vmcfg emit "$1")
    # On descriptor 3: a command in the loop that reads standard input, such as ssh, would otherwise consume the plan.
    while read -r op target group attr type value <&3; do
        case $op in
            set-attr) set_attr "$target" "$group" "$attr" "$type" "$value" ;;
            set-reg) set_reg "$target" "$group" "$attr" "$type" "$value" ;;
            '') ;; # a plan without commands is an empty line here
            *)
                # A newer vmcfg might emit commands that this script does not know. An incomplete set-up is useless.
                printf 'provision.sh: %s: unknown command: %s\n' "$1" "$op" >&2
                exit 4
                ;;
        esac
    done 3<<EOF
$plan
EOF
}

perform_all() { # DIRECTORY: the same files that `vmcfg validate FOLDER` checks
    for entry in "$1"/*; do
        if [ -d "$entry" ]; then
            # Recursion; the list of this loop already exists, so that reusing `entry` is safe.
            [ -h "$entry" ] || perform_all "$entry"
        else
            case $entry in
                *.yaml | *.yml) perform "$entry" ;;
            esac
        fi
    done
}

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo 'usage: provision.sh DIRECTORY' >&2
    exit 2
fi
directory=$1
case $directory in
    -*) directory=./$directory ;; # otherwise it looks like an option
esac

vmcfg validate "$directory" >&2
perform_all "$directory"
