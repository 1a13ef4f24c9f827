#!/bin/sh
# Run a command where 127.0.0.1:623 is a BMC, for clients that know no other port:
#
#   at-port-623.sh PORT COMMAND [ARGUMENT]...
#
# PORT is the one on which the BMC really is. In a network namespace 623 is free on every host, and
# needs no root. The process namespace ends with the command, and takes along what it left running.
# Whatever is between the two namespaces has to be a file: relay.sock, in the current directory.
set -eu

# At most five seconds.
wait_until() {
	tries=250
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || {
			echo "at-port-623: no end of waiting until $*" >&2
			exit 1
		}
		sleep 0.02
	done
}

is_bound() {
	# 026F is 623.
	grep -q ':026F ' /proc/net/udp
}

case ${AT_PORT_623:-} in
'')
	user=
	[ "$(id -u)" = 0 ] || user='--user --map-root-user'
	export AT_PORT_623=host
	exec unshare $user --pid --fork --kill-child --mount-proc "$0" "$@"
	;;
host)
	rm -f relay.sock
	# Type 5 is SEQPACKET, which leaves datagrams as they are.
	socat UNIX-LISTEN:relay.sock,type=5,fork "UDP4:127.0.0.1:$1" &
	wait_until test -S relay.sock
	AT_PORT_623=namespace exec unshare --net "$0" "$@"
	;;
namespace)
	shift
	ip link set lo up
	socat UDP4-LISTEN:623,bind=127.0.0.1,fork UNIX-CONNECT:relay.sock,type=5 &
	wait_until is_bound
	"$@"
	;;
esac
