"""The scripts that have bash, zsh and fish ask `postroom completion words`.

Each collects the words in front of the cursor, asks, and shows what comes back: a candidate and
what it means on a line, divided by a tab; `:files` or `:directories` where the shell knows better.
What ends in "=" is gone on with, so it gets no space behind it.

Called by: cli.completion.  Raises: nothing.
"""

from __future__ import annotations

FILES = ":files"
DIRECTORIES = ":directories"

BASH = r"""# Completion of postroom for bash:  eval "$(postroom completion bash)"
_postroom() {
    local line=${COMP_LINE:0:COMP_POINT} words current prefix candidate meaning
    read -ra words <<<"$line"
    # bash takes words apart at = and :, and puts back only what is behind the last of them.
    if [[ $line == *[[:space:]] ]]; then current=""; words+=(""); else current=${words[-1]}; fi
    prefix=${current%"${current##*[=:]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r candidate meaning; do
        case $candidate in
            :files) compopt -o filenames
                mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$current") ;;
            :directories) compopt -o filenames
                mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$current") ;;
            *=) compopt -o nospace; COMPREPLY+=("${candidate#"$prefix"}") ;;
            ?*) COMPREPLY+=("${candidate#"$prefix"}") ;;
        esac
    done < <("${words[0]/#\~/$HOME}" completion words "${words[@]:1}" 2>/dev/null)
}
complete -F _postroom postroom
"""

ZSH = r"""# Completion of postroom for zsh:  eval "$(postroom completion zsh)"
_postroom() {
    local line candidate meaning
    local -a plain open
    for line in "${(@f)$(${(Q)words[1]} completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        candidate=${line%%$'\t'*}
        meaning=${line#*$'\t'}
        case $candidate in
            :files) _files ;;
            :directories) _files -/ ;;
            *=) open+=("$candidate") ;;
            ?*) plain+=("${candidate//:/\\:}:$meaning") ;;
        esac
    done
    (( $#plain )) && _describe postroom plain
    (( $#open )) && compadd -S '' -- $open
    return 0
}
if ! whence compdef >/dev/null; then autoload -Uz compinit && compinit -u -D; fi
compdef _postroom postroom
"""

FISH = r"""# Completion of postroom for fish:  postroom completion fish | source
function __postroom_words
    set -l words (commandline -opc) (commandline -ct)
    set -l current (commandline -ct)
    for line in ($words[1] completion words $words[2..-1] 2>/dev/null)
        switch $line
            case ':files*'
                __fish_complete_path $current
            case ':directories*'
                __fish_complete_directories $current
            case '*'
                echo $line
        end
    end
end
complete -c postroom -f -a '(__postroom_words)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
