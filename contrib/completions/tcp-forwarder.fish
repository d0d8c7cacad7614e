function __fish_tcp-forwarder_using_command
    set -l cmd (commandline -opc)
    set -e cmd[1]
    set -l target_cmd $argv

    set -l known_value_flags 'c' 'concurrency' 'config' 'download' 'list' 'output' 'port' 'probes' 'rate' 'seed' 'service' 'socket' 'time' 'timeout' 'top' 'url'

    set -l i 1
    set -l cleaned_cmd
    while test $i -le (count $cmd)
        set -l arg $cmd[$i]
        if string match -q -- "-*" $arg
            set -l pure_flag (string replace -r '^--?' '' -- $arg)
            if contains -- $pure_flag $known_value_flags
                set -l next_i (math $i + 1)
                if test $next_i -le (count $cmd)
                    if not string match -q -- "-*" $cmd[$next_i]
                        set i $next_i
                    end
                end
            end
        else
            set -a cleaned_cmd $arg
        end
        set i (math $i + 1)
    end

    set -l count_cleaned (count $cleaned_cmd)
    set -l count_target (count $target_cmd)

    if test $count_cleaned -ne $count_target
        return 1
    end

    for i in (seq $count_target)
        if test $cleaned_cmd[$i] != $target_cmd[$i]
            return 1
        end
    end

    return 0
end

complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -F -l config -s c -r -d 'configuration file (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -l takeover -d 'take the place of the process behind `server.control_socket`'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -l version -d 'print the version'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'check' -d 'Check the configuration and the candidate list, say what was understood, and bind nothing.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'demo' -d 'Run with a few backends in this process, to try the forwarder without any file.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'drain' -d 'Keep new clients from a candidate, which is still probed; those that it has go on.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'explain' -d 'Say why the members of a running process\'s active sets are in, why the best others are out, and what would change it.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'maintenance' -d 'Keep new clients and probes from a candidate.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'ready' -d 'Let a candidate get new clients again, by the usual rules.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'scan' -d 'Find the best of many addresses by TCP connects, and print them. Interrupted, it prints what is known so far.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'status' -d 'Say how a running process and its services stand.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command' -f -a 'top' -d 'Show services and members of a running process as they change. Keys: q quits, s sorts by something else, r turns the order, j and k or the arrows choose a service. Where standard output is no terminal it says once how they stand.'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command check' -f -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command check' -F -l config -s c -r -d 'configuration file (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command demo' -f -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command drain' -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command drain' -l service -r -d 'service (default: the only one)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command drain' -l config -s c -r -d 'configuration file of the process, which says where it is (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command drain' -l socket -r -d 'control socket of the process'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command drain' -l url -r -d 'metrics port of the process, as http://HOST:PORT'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command drain' -l json -d 'print the answer as it came, in JSON'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command explain' -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command explain' -l config -s c -r -d 'configuration file of the process, which says where it is (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command explain' -l socket -r -d 'control socket of the process'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command explain' -l url -r -d 'metrics port of the process, as http://HOST:PORT'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command explain' -l json -d 'print the answer as it came, in JSON'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command maintenance' -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command maintenance' -l service -r -d 'service (default: the only one)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command maintenance' -l config -s c -r -d 'configuration file of the process, which says where it is (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command maintenance' -l socket -r -d 'control socket of the process'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command maintenance' -l url -r -d 'metrics port of the process, as http://HOST:PORT'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command maintenance' -l json -d 'print the answer as it came, in JSON'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command ready' -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command ready' -l service -r -d 'service (default: the only one)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command ready' -l config -s c -r -d 'configuration file of the process, which says where it is (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command ready' -l socket -r -d 'control socket of the process'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command ready' -l url -r -d 'metrics port of the process, as http://HOST:PORT'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command ready' -l json -d 'print the answer as it came, in JSON'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l list -r -d 'candidate list'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l port -r -d 'port of entries that name none (default 443)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l config -s c -r -d 'configuration file whose candidate list is scanned (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l service -r -d 'service of that configuration'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l probes -r -d 'probes at most (default 20000); a list that is no longer is scanned completely'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l time -r -d 'look no longer than this, such as 30s (default: until nothing better comes)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l rate -r -d 'probes a second at most (default 1000)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l concurrency -r -d 'probes at once at most (default 1000)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l timeout -r -d 'a connect that takes longer has failed (default 1s)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l top -r -d 'how many of the best are printed (default 10)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l output -r -d 'table, csv, json, list, or state: a file that a service starts with (default table)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l download -r -d 'test how fast the best are by this URL (http only), asked of each of them'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command scan' -l seed -r -d 'number by which a run can be repeated'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command status' -f -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command status' -F -l config -s c -r -d 'configuration file of the process, which says where it is (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command status' -F -l socket -r -d 'control socket of the process'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command status' -f -l url -r -d 'metrics port of the process, as http://HOST:PORT'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command status' -f -l json -d 'print the answer as it came, in JSON'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command top' -l help -d 'display usage information'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command top' -l config -s c -r -d 'configuration file of the process, which says where it is (default ./config.yaml)'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command top' -l socket -r -d 'control socket of the process'
complete -c tcp-forwarder -n '__fish_tcp-forwarder_using_command top' -l url -r -d 'metrics port of the process, as http://HOST:PORT'
