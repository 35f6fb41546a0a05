# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ztsa_global_optspecs
    string join \n profile= gateway= ca-file= store= config-dir= state-dir= json v/verbose q/quiet color= h/help V/version
end

function __fish_ztsa_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ztsa_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ztsa_using_subcommand
    set -l cmd (__fish_ztsa_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ztsa -n "__fish_ztsa_needs_command" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_needs_command" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_needs_command" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_needs_command" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_needs_command" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_needs_command" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_needs_command" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_needs_command" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_needs_command" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_needs_command" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_needs_command" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_needs_command" -s V -l version -d 'Print version'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "login" -d 'Sign in at a gateway'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "logout" -d 'Sign out and forget the credentials'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "profile" -d 'List, choose or remove profiles: one gateway and one sign-in each'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "status" -d 'Show who is signed in, the device, the risk and where each setting comes from'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "apps" -d 'List the apps you may know of'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "connect" -d 'Open apps on local ports, or run a command against one'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "stdio" -d 'Carry one app\'s bytes on stdin and stdout, for ssh\'s ProxyCommand'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "proxy" -d 'Serve SOCKS5 and HTTP CONNECT on one local port'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "ticket" -d 'Mint a short-lived credential for one app, for a client that cannot run ztsa'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "why" -d 'Explain what policy says about an app, and what would change it'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "posture" -d 'Show what is collected about this device, why, and how to mend it'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "doctor" -d 'Find the first broken hop between this machine and an app'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "ssh-config" -d 'Print ssh configuration that reaches your ssh apps by name'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "man" -d 'Write the manual pages to a directory'
complete -c ztsa -n "__fish_ztsa_needs_command" -f -a "generate" -d 'Write the generated files of the source tree'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l workload -d 'Sign a job in with its platform\'s token: github, env:NAME, or the path of a file' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l issuer -d 'The issuer to sign in at, where the gateway names several' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l accept-issuer -d 'Accept this issuer, though its sign-in is not as it was at the first login' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l acr -d 'The strength of sign-in to ask for: values of acr, the best first' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l max-age -d 'How long ago the sign-in may have been at most: 30s, 10m, 1h' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l browser -d 'Sign in with a browser on this machine'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l device -d 'Sign in with a code on any other device'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l no-open -d 'Print the URL, but do not open it'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l qr -d 'Show the URL as a QR code too'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l extend -d 'Sign in anew even where the issuer still knows you, so that everything lasts longer'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand login" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l all -d 'Sign out of every profile'
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand logout" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -f -a "list" -d 'List the profiles, who is signed in where, and which one is used'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -f -a "use" -d 'Use this profile from now on, where nothing else names one'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and not __fish_seen_subcommand_from list use remove" -f -a "remove" -d 'Sign out of a profile and remove all that is kept of it, its device key too'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from use" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand profile; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l watch -d 'Stay and print what changes'
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand status" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand apps" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l listen -d 'The local address; port 0 takes any free port [default: the app\'s own port on 127.0.0.1 and ::1]' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l print -d 'Print how to reach the app on stdout: as export lines, JSON, connection string or URI' -r -f -a "env\t''
json\t''
dsn\t''
uri\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l reason -d 'Why you need it; the audit log keeps it' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l wait -d 'Keep trying this long while the gateway or the app cannot be reached' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand connect" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand stdio" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l listen -d 'The local address to listen on [default: 127.0.0.1:1080]' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l pac -d 'Print the URL of a proxy auto-configuration file for browsers'
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand proxy" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l for -d 'How long the ticket holds: 30s, 10m, 1h [default: the gateway\'s]' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l uses -d 'How many tunnels it may open [default: any number]' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand ticket" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand why" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand posture" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l print -d 'Print it on stdout (the only thing this command does)'
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand ssh-config" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand completions" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand man" -s h -l help -d 'Print help'
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l profile -d 'The profile to use: one gateway and one sign-in each' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l gateway -d 'The gateway\'s URL, instead of the profile\'s' -r
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l ca-file -d 'A PEM file with extra root certificates for the gateway' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l store -d 'Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only' -r -f -a "auto\t''
keyring\t''
file\t''
memory\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l config-dir -d 'The directory of config.toml' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l state-dir -d 'The directory of credentials and profiles' -r -F
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l color -d 'When to use colour [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -l json -d 'Print machine-readable JSON on stdout, errors as JSON on stderr'
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -s v -l verbose -d 'Say more on stderr; twice for debugging'
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -s q -l quiet -d 'Print only data and errors'
complete -c ztsa -n "__fish_ztsa_using_subcommand generate" -s h -l help -d 'Print help'
