#!/bin/sh
# Run ipmidetect with these arguments, once its daemon has heard of a BMC at 127.0.0.1:623. Nobody is
# at 127.0.0.2. To be run by at-port-623.sh, which ends the daemon.
set -eu

cat > ipmidetectd.conf <<-EOF
	ipmiping_period 100
	host 127.0.0.1
	host 127.0.0.2
EOF

detect() {
	ipmidetect --hostname=127.0.0.1 --port=9225 "$@"
}

# In the foreground, it tells of each ping.
ipmidetectd --config-file="$PWD/ipmidetectd.conf" --debug > ipmidetectd.log 2>&1 &
# At most five seconds; then ipmidetect may say itself what it misses.
tries=250
until [ "$(detect --detected --newline 2> /dev/null)" = 127.0.0.1 ]; do
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || break
	sleep 0.02
done
detect "$@"
