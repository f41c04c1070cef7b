autoload -Uz compinit
compinit -u -D
zstyle ':completion:*' list-colors ''
zstyle ':completion:*' verbose no
# Write the proposals to a file, not as a list to the screen.
compadd() {
    if [[ ${@[(I)-O|-A|-D]} -ne 0 ]]; then
        builtin compadd "$@"
        return
    fi
    local -a offered
    builtin compadd -O offered "$@"
    print -rl -- "offered: "${^offered} >>$OFFERED
    builtin compadd "$@"
}
PROMPT='ready> '
