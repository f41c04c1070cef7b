#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec < /dev/null > /dev/console 2>&1
export HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin TERM=dumb
/bin/busybox --install -s /bin
mkdir -p /results /tmp
mkfifo /stderr
tee /results/stderr < /stderr &
cd /work
sh /command > /results/stdout 2> /stderr
echo $? > /results/exit_code
wait
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/nvme0n1 ] && break; sleep 1; done
tar -c -f /dev/nvme0n1 -C /results . && sync
poweroff -f
