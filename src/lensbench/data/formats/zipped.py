"""Members of zip files, read without trust in what the file says of them."""

import zipfile


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read one member; never more than the size that it declares is inflated.

    Raises:
        zipfile.BadZipFile: The member is damaged, compressed by an unusual method, or its size or
            checksum is not the declared one.
        EOFError, zlib.error, RuntimeError: It is cut short, damaged or encrypted.
    """
    require_bounded(member)
    with archive.open(member) as file:
        content = file.read(member.file_size)
    if len(content) != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename} is shorter than the archive says")
    return content


def require_bounded(member: zipfile.ZipInfo) -> None:
    """Refuse the compression methods that zipfile can only inflate whole.

    Raises:
        zipfile.BadZipFile: The member is neither stored nor deflated.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(
            f"compressed by method {member.compress_type}; only deflate is read"
        )
