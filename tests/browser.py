"""A page in a real headless Chromium, by its debugging protocol."""
import base64
import io
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(
    filter(
        None,
        map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))),
    None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason='there is no chromium (Debian: chromium)')


class Page:
    """A page of so many pixels; ``requests`` lists all addresses it asked.

    Args:
        path: An .html file.
        folder: For the browser's profile.
    """

    def __init__(self, path, folder, size=(1200, 900), fragment=''):
        to_browser, own_out = os.pipe()
        own_in, from_browser = os.pipe()
        command = (f'exec {CHROMIUM} --headless=new --no-sandbox '
                   '--disable-gpu --disable-dev-shm-usage '
                   f'--user-data-dir={folder} --remote-debugging-pipe '
                   f'about:blank 3<&{to_browser} 4>&{from_browser}')
        self._process = subprocess.Popen(['bash', '-c', command],
                                         pass_fds=(to_browser, from_browser),
                                         stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._out, self._in = os.fdopen(own_out, 'wb'), os.fdopen(own_in, 'rb')
        self._count, self._session, self.requests = 0, None, []
        target = self._ask('Target.createTarget', url='about:blank')
        self._session = self._ask(
            'Target.attachToTarget', targetId=target['targetId'],
            flatten=True)['sessionId']
        self._ask('Network.enable')
        self._ask(
            'Emulation.setDeviceMetricsOverride',
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=False)
        self._ask('Page.navigate', url=f'file://{path}{fragment}')
        self.wait('document.body && document.body.dataset.ready === "yes"')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._in.close()

    def evaluate(self, code):
        result = self._ask(
            'Runtime.evaluate', expression=code, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def wait(self, code, seconds=60):
        end = time.monotonic() + seconds
        while not self.evaluate(code):
            assert time.monotonic() < end, code
            time.sleep(.05)

    def click(self, x, y):
        for kind in ('mousePressed', 'mouseReleased'):
            self._ask(
                'Input.dispatchMouseEvent',
                type=kind,
                x=x,
                y=y,
                button='left',
                clickCount=1)

    def box(self, selector):
        """Left, top, width, height of an element, in pixels."""
        return self.evaluate(
            f'(b => [b.x, b.y, b.width, b.height])(document.querySelector('
            f'{json.dumps(selector)}).getBoundingClientRect())')

    def screenshot(self):
        """The page (H, W, 3), uint8 RGB."""
        data = self._ask('Page.captureScreenshot', format='png')['data']
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        return np.asarray(image.convert('RGB'))

    def _ask(self, method, **params):
        self._count += 1
        message = dict(id=self._count, method=method, params=params)
        if self._session:
            message['sessionId'] = self._session
        self._out.write(json.dumps(message).encode() + b'\0')
        self._out.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get('method') == 'Network.requestWillBeSent':
                self.requests.append(answer['params']['request']['url'])
            if answer.get('id') == self._count:
                assert 'error' not in answer, answer
                return answer['result']

    def _read(self):
        data = bytearray()
        while not data.endswith(b'\0'):
            byte = self._in.read(1)
            assert byte, 'Chromium has ended.'
            data += byte
        return bytes(data[:-1])
