autoload -Uz compinit
compinit -u -D
zstyle ':completion:*' list-colors ''
zstyle ':completion:*' verbose no
# What is offered, instead of a list on the screen.
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
