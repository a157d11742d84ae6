# SPDX-License-Identifier: MIT
"""Which BPF programs stand at tcx, which Debian 12's tc and bpftool do not show."""

import ctypes
import errno
import os
import socket

from world import netns

_BPF_TCX_INGRESS = 46 # enum bpf_attach_type
_MOST = 64
_libbpf = ctypes.CDLL("libbpf.so.1")


class _ProgInfo(ctypes.Structure):
    """struct bpf_prog_info as far as its name."""
    _fields_ = [("before", ctypes.c_uint8 * 64), ("name", ctypes.c_char * 16)]


def ingress(namespace, interface):
    """The names of the programs at the interface's ingress, in their order; none where the kernel has no tcx."""
    ids, count = (ctypes.c_uint32 * _MOST)(), ctypes.c_uint32(_MOST)
    with netns.entered(namespace):
        result = _libbpf.bpf_prog_query(socket.if_nametoindex(interface), _BPF_TCX_INGRESS, 0, None, ids,
                                        ctypes.byref(count))
    if result in (-errno.ENOENT, -errno.EINVAL):
        return []
    _check(result, interface)
    return [_name(number) for number in ids[:count.value]]


def _name(number):
    info, size = _ProgInfo(), ctypes.c_uint32(ctypes.sizeof(_ProgInfo))
    fd = _libbpf.bpf_prog_get_fd_by_id(number)
    _check(fd, f"program {number}")
    try:
        _check(_libbpf.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)), f"program {number}")
    finally:
        os.close(fd)
    return info.name.decode()


def _check(result, what):
    if result < 0:
        raise OSError(-result, os.strerror(-result), what)
