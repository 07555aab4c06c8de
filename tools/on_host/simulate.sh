# Let this host be several, with the names $@. The name of a host is in one file, which each sees with its own name.
set -eu
identity=/etc/supervisord/supervisord.conf
install -d /run/simulated
for name; do
  cp -a "$identity" "/run/simulated/$name"
  sed -i "s/^identifier = .*/identifier = $name/" "/run/simulated/$name"
done
cat > /usr/local/bin/simulated <<'END'
#!/bin/sh
# In place of sudo: the words of sudo follow the name of the simulated host.
name=$1
shift
exec sudo -n unshare --mount sh -c '
  mount --bind "/run/simulated/$0" /etc/supervisord/supervisord.conf
  exec sudo "$@"
' "$name" "$@"
END
chmod 755 /usr/local/bin/simulated
# As many connections begin at once as there are forks.
echo 'MaxStartups 1000' > /etc/ssh/sshd_config.d/simulated.conf
systemctl reload ssh
