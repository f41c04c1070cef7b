#!/bin/sh
# Sets up every VM in a directory: checks all descriptions first, then executes the commands of each in order.
# Use it to start from: replace set_attr and set_reg, which here only print their arguments.
#
#     provision.sh DIRECTORY            all *.yaml and *.yml files in it, except hidden ones
#     provision.sh DIRECTORY HOST...    checks the same files against KVM of each host, tries them there, and puts their
#                                       plans into /etc/vmcfg/plans there: a host needs sshd, Python, and /dev/kvm
#
# Exit codes: 0 all executed, 1 errors found, 2 usage error, 3 vmcfg could not do its work, 4 unknown command in a plan;
# of several hosts the highest, such as 255 for one that ssh cannot reach.
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

# The playbook in fleet/ in the repository of vmcfg does the same with Ansible.
provision_host() { # HOST: ends with 1 if it cannot have these VMs, and with 3 if it has no KVM
    vmcfg probe --script | ssh "$1" python3 - >"$work/host.json"
    vmcfg validate --host "$work/host.json" "$directory" >&2
    # The exit code is that of the program on the host. Its report has the findings.
    vmcfg try --script "$directory" | ssh "$1" python3 - >"$work/report.json" || {
        code=$?
        cat "$work/report.json" >&2
        exit "$code"
    }
    said=$(vmcfg emit --host "$work/host.json" "$directory" -o "$work/plans/" 2>&1) || {
        code=$?
        printf '%s\n' "$said" >&2
        exit "$code"
    }
    rm "$work/plans/.vmcfg-emit.json" # the list of these files, for the next emit
    # shellcheck disable=SC2029  # it has nothing to expand here
    tar -cf - -C "$work/plans" . | ssh "$1" "$receive_plans"
}

# shellcheck disable=SC2016  # the host expands it
receive_plans='
    set -eu
    new=/etc/vmcfg/plans.new
    rm -rf "$new" && mkdir -p "$new" && tar -xf - -C "$new"
    if diff -r "$new" /etc/vmcfg/plans >/dev/null 2>&1; then
        rm -r "$new" && echo unchanged
    else
        rm -rf /etc/vmcfg/plans && mv "$new" /etc/vmcfg/plans && echo changed
    fi'

provision_hosts() { # HOST...: prints one line per host, and continues after a host that fails
    worst=0
    for host in "$@"; do
        work=$(mktemp -d)
        # Not after `||`, where `set -e` would not end the function at a command that fails.
        set +e
        result=$(
            set -e
            provision_host "$host"
        )
        code=$?
        set -e
        rm -rf "$work"
        [ "$code" -eq 0 ] || result="failed with exit code $code"
        printf '%s: %s\n' "$host" "$result"
        [ "$code" -le "$worst" ] || worst=$code
    done
    exit "$worst"
}

if [ $# -eq 0 ] || [ ! -d "$1" ]; then
    echo 'usage: provision.sh DIRECTORY [HOST...]' >&2
    exit 2
fi
directory=$1
shift
case $directory in
    -*) directory=./$directory ;; # otherwise it looks like an option
esac

vmcfg validate "$directory" >&2
if [ $# -gt 0 ]; then
    provision_hosts "$@"
fi
perform_all "$directory"
