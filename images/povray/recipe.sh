# POV-Ray and the scenes of its authors, under /usr/share/povray/scenes.
packages=(povray povray-examples dash busybox-static)
entry=(/usr/local/bin/render)
env=(HOME=/tmp)

prepare() {
    mkdir -p "$root/usr/share/povray" "$root/usr/local/bin"
    mv "$root/usr/share/doc/povray/examples" "$root/usr/share/povray/scenes"
    install -m 755 povray/render.sh "$root/usr/local/bin/render"
    # The container itself bounds what is read and written.
    printf '[File I/O Security]\nnone\n[Shellout Security]\nforbidden\n' >"$root/etc/povray/3.7/povray.conf"
    # Libraries for windows and sound, which no renderer without a screen loads, are needed by the linker all the same.
    rm -rf "$root/usr/share/povray-3.7/icons"
}
