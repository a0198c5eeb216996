# In a copy of a machine: what the package does when it is installed, started, changed, installed again and removed.
expect() { "$@" || { echo "expected: $*" >&2; exit 1; }; }
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y "$@"; }
# Of its dependencies adduser may be missing.
command -v adduser >/dev/null || { apt_get update; apt_get install adduser >/dev/null; }
config=/etc/waypost/waypost.toml registry=/var/lib/waypost/registry

dpkg --install /waypost.deb >/dev/null
expect [ "$(stat -c %U:%a "$registry")" = waypost:750 ]
expect [ -e /usr/lib/systemd/system/waypost.service ]
expect [ -e /usr/share/man/man1/waypost-serve.1.gz ]
# It changes nothing of the machine's kernel.
expect [ -e /usr/share/doc/waypost/60-waypost.conf ]
expect [ ! -e /usr/lib/sysctl.d/60-waypost.conf ]
as_service=(setpriv --reuid=waypost --regid=waypost --init-groups --inh-caps=+net_bind_service
    --ambient-caps=+net_bind_service)

# The shipped configuration starts on port 80, as the unit starts it, and answers for a plate of the sample.
"${as_service[@]}" waypost check --config "$config"
"${as_service[@]}" waypost serve --config "$config" 2>/tmp/log & edge=$!
for _ in $(seq 100); do waypost probe --config "$config" 2>/dev/null && break; sleep 0.1; done
expect waypost probe --config "$config"
exec 3<>/dev/tcp/127.0.0.1/80
printf 'GET /7K3M9QX5 HTTP/1.1\r\nHost: qr.langson.gov.vn\r\nConnection: close\r\n\r\n' >&3
read -r _ status _ <&3
expect [ "$status" = 302 ]
exec 3>&-
kill "$edge"
wait "$edge"
expect [ "$(stat -c %U /var/lib/waypost/waypost.db)" = waypost ]

# What the operator has written outlives another installation (here of the same version): the tables, and the
# configuration.
echo '# mine' >> "$config"
cp "$registry/places.csv" /tmp/places && echo >> "$registry/places.csv" && cp "$registry/places.csv" /tmp/places
rm "$registry/overrides.csv"
dpkg --install /waypost.deb >/dev/null
expect grep -q '# mine' "$config"
expect cmp -s "$registry/places.csv" /tmp/places
expect [ ! -e "$registry/overrides.csv" ]

dpkg --remove waypost >/dev/null
expect [ ! -e /usr/bin/waypost ]
expect [ -e "$config" ]
dpkg --purge waypost >/dev/null 2>&1
expect [ ! -e "$config" ]
expect [ -e /var/lib/waypost/waypost.db ]
echo "installed, started on port 80, installed again and removed"
