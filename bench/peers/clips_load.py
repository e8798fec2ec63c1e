"""Times a folder of videos through torchcodec or PyAV and a DataLoader: frames by time, one random resized crop and flip a clip,
normalised and collated."""

import argparse
import json
import pathlib
import random
import time

import torch
from torchvision.transforms import v2

ENDINGS = {".mp4", ".mkv", ".webm", ".avi", ".mov"}


class Clips(torch.utils.data.Dataset):
    def __init__(self, o):
        self.o = o
        self.paths = sorted(p for p in pathlib.Path(o.data).rglob("*") if p.suffix in ENDINGS)
        self.transform = v2.Compose([
            v2.RandomResizedCrop(o.image, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        frames = self.torchcodec(index) if self.o.decoder == "torchcodec" else self.pyav(index)
        return self.transform(frames)

    def moments(self, seconds):
        """The times of a window that begins anywhere."""
        reach = (self.o.frames - 1) / self.o.fps
        start = random.uniform(0.0, max(0.0, seconds - reach - 1e-3))
        return [start + i / self.o.fps for i in range(self.o.frames)]

    def torchcodec(self, index):
        from torchcodec.decoders import VideoDecoder

        decoder = VideoDecoder(str(self.paths[index]), num_ffmpeg_threads=1, seek_mode=self.o.seek_mode)
        last = decoder.metadata.end_stream_seconds - 1e-3
        moments = [min(t, last) for t in self.moments(decoder.metadata.duration_seconds)]
        return decoder.get_frames_played_at(moments).data

    def pyav(self, index):
        import av
        import numpy

        with av.open(str(self.paths[index])) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            moments = self.moments(float(stream.duration * stream.time_base))
            container.seek(int(moments[0] / stream.time_base), stream=stream)
            shown, taken = None, []
            for frame in container.decode(stream):
                while len(taken) < len(moments) and frame.time > moments[len(taken)] and shown is not None:
                    taken.append(shown)
                if len(taken) == len(moments):
                    break
                shown = frame
            taken += [shown] * (len(moments) - len(taken))
            return torch.from_numpy(numpy.stack([f.to_ndarray(format="rgb24") for f in taken])).permute(0, 3, 1, 2)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--data", required=True, help="a folder of videos")
    a.add_argument("--decoder", choices=("torchcodec", "pyav"), default="torchcodec")
    a.add_argument("--seek-mode", choices=("exact", "approximate"), default="approximate", help="torchcodec's; exact reads each file first")
    a.add_argument("--fps", type=float, default=8.0)
    for name, default in (("image", 224), ("batch", 8), ("frames", 16), ("workers", 2), ("steps", 20)):
        a.add_argument(f"--{name}", type=int, default=default)
    o = a.parse_args()
    torch.set_num_threads(1)
    clips = Clips(o)
    sampler = torch.utils.data.RandomSampler(clips, replacement=True, num_samples=(o.steps + 2) * o.batch)
    loader = torch.utils.data.DataLoader(clips, o.batch, sampler=sampler, num_workers=o.workers)
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    start = time.perf_counter()
    for _ in range(o.steps):
        next(batches)
    seconds = time.perf_counter() - start
    clips = o.steps * o.batch
    print(json.dumps({**vars(o), "seconds": seconds, "clips_per_s": clips / seconds, "frames_per_s": clips * o.frames / seconds}))


if __name__ == "__main__":
    main()
