#!/bin/sh
# Sets up every VM that a folder describes: checks all descriptions first, then performs each one's commands in order.
# Use it to begin with: fill in set_attr and set_reg, which as they stand print what they are to do.
#
#     provision.sh FOLDER        all *.yaml and *.yml below it, hidden ones left out
#
# Exit code: 0 all performed, 1 findings, 2 wrong usage, 3 nothing to read, 4 a command that this script does not know.
set -eu

# ---- Fill in from here -----------------------------------------------------------------------------------------------
# Both are called with: target, group, attribute, type, value. A target is `gic` or `vcpu:ID`. The types are none, s32,
# u32 and u64; where the type is none the value is `-`. `vmcfg emit --numbers` prints numbers instead of names.
# A command that fails must end the script, as `set -e` does it: what comes after it in the plan relies on it.

set_attr() { # KVM_SET_DEVICE_ATTR
    printf 'set-attr %s %s %s %s %s\n' "$@"
}

set_reg() { # KVM_SET_ONE_REG
    printf 'set-reg %s %s %s %s %s\n' "$@"
}

# ---- to here ---------------------------------------------------------------------------------------------------------

perform() { # FILE
    # An assignment by itself, so that emit's exit code ends the script: in a pipe, and inside the here-document, the
    # shell throws it away and goes on with 0.
    plan=$(vmcfg emit "$1")
    # On descriptor 3, because an ssh in the loop, or anything else that reads standard input, would eat the plan.
    while read -r op target group attr type value <&3; do
        case $op in
            set-attr) set_attr "$target" "$group" "$attr" "$type" "$value" ;;
            set-reg) set_reg "$target" "$group" "$attr" "$type" "$value" ;;
            '') ;; # A plan without commands is an empty line here.
            *)
                # A later vmcfg may emit what this script has never heard of, and half a set-up is none.
                printf 'provision.sh: %s: unknown command: %s\n' "$1" "$op" >&2
                exit 4
                ;;
        esac
    done 3<<EOF
$plan
EOF
}

perform_all() { # FOLDER: the same files that `vmcfg validate FOLDER` checks
    for entry in "$1"/*; do
        if [ -d "$entry" ]; then
            # Calls itself; the list of this loop was made before, so that reusing `entry` does no harm.
            [ -h "$entry" ] || perform_all "$entry"
        else
            case $entry in
                *.yaml | *.yml) perform "$entry" ;;
            esac
        fi
    done
}

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo 'usage: provision.sh FOLDER' >&2
    exit 2
fi
folder=$1
case $folder in
    -*) folder=./$folder ;; # or vmcfg would take it for an option
esac

vmcfg validate "$folder" >&2
perform_all "$folder"
