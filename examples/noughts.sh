#!/bin/sh
# Noughts and crosses, as a program of --exec: noughts.py says how, and what
# a message looks like. This one plays against it, or against itself.
set -f
games=${1:-1}

# Whether $2 has a line on board $1.
wins() {
    case $(printf %s "$1" | tr "$2" '#') in
        '###'??????|???'###'???|??????'###') return 0 ;;
        '#'??'#'??'#'??|?'#'??'#'??'#'?|??'#'??'#'??'#') return 0 ;;
        '#'???'#'???'#'|??'#'?'#'?'#'??) return 0 ;;
        *) return 1 ;;
    esac
}

# Board $1 with $2 in cell $3.
put() { printf %s "$1" | sed "s/./$2/$3"; }

# Says a move of $2 on board $3, in game $1.
move() {
    other=O; [ "$2" = X ] || other=X
    best=
    for cell in 5 1 3 7 9 2 4 6 8; do
        [ "$(printf %s "$3" | cut -c "$cell")" = . ] || continue
        best=${best:-$cell}
        if wins "$(put "$3" "$2" "$cell")" "$2"; then best=$cell; break; fi
        if wins "$(put "$3" $other "$cell")" $other; then best=$cell; fi
    done
    board=$(put "$3" "$2" "$best")
    end=
    if wins "$board" "$2"; then end=" $2 wins"
    else case $board in *.*) ;; *) end=' draw' ;; esac
    fi
    echo "game $1, $2 takes $best: $board$end"
}

[ "$TURNCHAT_ROLE" = client ] || move 1 X .........
while read -r _ game mark _ _ board end; do
    game=${game%,}
    if [ -z "$end" ]; then
        case $mark in X) move "$game" O "$board" ;; O) move "$game" X "$board" ;; esac
    elif [ "$game" -lt "$games" ]; then
        move $((game + 1)) X .........
    else
        exit 0
    fi
done
