_tcp-forwarder() {
    local i cur prev opts cmds
    COMPREPLY=()
    cur="${COMP_WORDS[COMP_CWORD]}"
    if [[ $COMP_CWORD -ge 1 ]]; then
        prev="${COMP_WORDS[COMP_CWORD-1]}"
    else
        prev=""
    fi
    cmd=""
    opts=""

    for i in ${COMP_WORDS[@]}; do
        case "${i}" in
            tcp-forwarder | */tcp-forwarder)
                cmd="tcp-forwarder"
                ;;
            check)
                cmd="tcp-forwarder_check"
                ;;
            demo)
                cmd="tcp-forwarder_demo"
                ;;
            drain)
                cmd="tcp-forwarder_drain"
                ;;
            explain)
                cmd="tcp-forwarder_explain"
                ;;
            maintenance)
                cmd="tcp-forwarder_maintenance"
                ;;
            ready)
                cmd="tcp-forwarder_ready"
                ;;
            scan)
                cmd="tcp-forwarder_scan"
                ;;
            status)
                cmd="tcp-forwarder_status"
                ;;
            top)
                cmd="tcp-forwarder_top"
                ;;
        esac
    done

    case "${cmd}" in
        tcp-forwarder)
            opts="--help --config -c --takeover --version"
            cmds="check demo drain explain maintenance ready scan status top"
            case "${prev}" in
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_check)
            opts="--help --config -c"
            case "${prev}" in
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_demo)
            opts="--help"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_drain)
            opts="--help --service --config -c --socket --url --json"
            case "${prev}" in
                --service)
                    COMPREPLY=()
                    return 0
                    ;;
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --url)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_explain)
            opts="--help --config -c --socket --url --json"
            case "${prev}" in
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --url)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_maintenance)
            opts="--help --service --config -c --socket --url --json"
            case "${prev}" in
                --service)
                    COMPREPLY=()
                    return 0
                    ;;
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --url)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_ready)
            opts="--help --service --config -c --socket --url --json"
            case "${prev}" in
                --service)
                    COMPREPLY=()
                    return 0
                    ;;
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --url)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_scan)
            opts="--help --list --port --config -c --service --probes --time --rate --concurrency --timeout --top --output --download --seed"
            case "${prev}" in
                --list)
                    COMPREPLY=()
                    return 0
                    ;;
                --port)
                    COMPREPLY=()
                    return 0
                    ;;
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --service)
                    COMPREPLY=()
                    return 0
                    ;;
                --probes)
                    COMPREPLY=()
                    return 0
                    ;;
                --time)
                    COMPREPLY=()
                    return 0
                    ;;
                --rate)
                    COMPREPLY=()
                    return 0
                    ;;
                --concurrency)
                    COMPREPLY=()
                    return 0
                    ;;
                --timeout)
                    COMPREPLY=()
                    return 0
                    ;;
                --top)
                    COMPREPLY=()
                    return 0
                    ;;
                --output)
                    COMPREPLY=()
                    return 0
                    ;;
                --download)
                    COMPREPLY=()
                    return 0
                    ;;
                --seed)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_status)
            opts="--help --config -c --socket --url --json"
            case "${prev}" in
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --url)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        tcp-forwarder_top)
            opts="--help --config -c --socket --url"
            case "${prev}" in
                --config | -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --url)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
    esac
}

complete -F _tcp-forwarder -o bashdefault -o default tcp-forwarder
