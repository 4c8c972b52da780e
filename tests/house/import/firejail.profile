# Firejail profile for a tool
include tool.local
include disable-common.inc
?HAS_NODBUS: ignore dbus-user none

noblacklist ${HOME}/.config/tool
blacklist ${HOME}/.ssh
blacklist ${HOME}/My Secret Files
blacklist ${PATH}/curl
blacklist ${RUNUSER}/gnupg
blacklist ${HOME}/.*_history
blacklist /srv/private/*
mkdir ${HOME}/.config/tool
whitelist ${HOME}/.config/tool
whitelist-ro ${HOME}/Documents
whitelist /usr/share/tool
read-only ${HOME}/.config/tool/plugins
read-write /srv/out
tmpfs ${HOME}/.cache/tool
private-tmp
private-dev
private-bin tool,sh
disable-mnt
noexec ${HOME}
net none
protocol unix,inet
caps.drop all
nonewprivs
seccomp
seccomp.drop kexec_load
memory-deny-write-execute
rlimit-as 2147483648
rlimit-nproc 100
rlimit-nofile 500
rlimit-fsize 1g
cpu 0,1
timeout 00:10:00
env MODE=fast and loose
rmenv LD_PRELOAD
dbus-user none
dbus-user.talk org.freedesktop.Notifications
shell none
frobnicate yes
