"""Drives a headless Chromium over the pipe of its debugging protocol: nothing to install beside it."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


class Failed(Exception):
    pass


class Browser:
    """One Chromium with one page. errors: what the page's console and exceptions have said."""

    def __init__(self, program, downloads=None):
        self.profile = tempfile.mkdtemp(prefix='twostep-chromium.')
        to_read, self.write_end = os.pipe()
        self.read_end, to_write = os.pipe()

        def wire():
            # Chromium reads commands from 3 and writes answers to 4; park the ends above both first.
            read_copy, write_copy = os.dup(to_read), os.dup(to_write)
            for end in (read_copy, write_copy):
                if end <= 4:
                    raise OSError('no room for the pipe')
            os.dup2(read_copy, 3)
            os.dup2(write_copy, 4)
        arguments = [program, '--headless', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu',
                     '--disable-quic', '--no-first-run', '--disable-background-networking',
                     '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
                     '--host-resolver-rules=MAP * ~NOTFOUND', '--user-data-dir=' + self.profile, 'about:blank']
        self.process = subprocess.Popen(arguments, preexec_fn=wire, close_fds=False, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.number, self.buffer, self.answers, self.errors, self.requests = 0, b'', {}, [], []
        self.dialogs = 0
        self.session = None
        target = [t for t in self.send('Target.getTargets')['targetInfos'] if t['type'] == 'page'][0]
        self.session = self.send('Target.attachToTarget', targetId=target['targetId'], flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network', 'Accessibility'):
            self.send(domain + '.enable')
        if downloads:
            self.send('Page.setDownloadBehavior', behavior='allow', downloadPath=downloads)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _event(self, message):
        method, data = message.get('method', ''), message.get('params', {})
        if method == 'Runtime.exceptionThrown':
            details = data['exceptionDetails']
            self.errors.append(details.get('exception', {}).get('description') or details['text'])
        elif method == 'Runtime.consoleAPICalled' and data['type'] in ('error', 'warning', 'assert'):
            self.errors.append('console: ' + ' '.join(str(a.get('value', a.get('description'))) for a in data['args']))
        elif method == 'Log.entryAdded' and data['entry']['level'] in ('error', 'warning'):
            self.errors.append('log: ' + data['entry']['text'])
        elif method == 'Network.requestWillBeSent':
            self.requests.append(data['request']['url'])

    def _read(self, seconds):
        """Takes in what has arrived within so many seconds."""
        if not select.select([self.read_end], [], [], seconds)[0]:
            return
        piece = os.read(self.read_end, 1 << 20)
        if not piece:
            raise Failed('Chromium has gone')
        *whole, self.buffer = (self.buffer + piece).split(b'\0')
        for text in whole:
            message = json.loads(text)
            if 'id' in message:
                self.answers[message['id']] = message
            else:
                self._event(message)

    def send(self, method, seconds=60, **parameters):
        self.number += 1
        mine = self.number
        message = {'id': mine, 'method': method, 'params': parameters}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b'\0')
        end = time.monotonic() + seconds
        while mine not in self.answers:
            if time.monotonic() > end:
                raise Failed('%s was not answered in %d s' % (method, seconds))
            self._read(1)
        answer = self.answers.pop(mine)
        if 'error' in answer:
            raise Failed('%s: %s' % (method, answer['error']['message']))
        return answer['result']

    def js(self, expression):
        """The value of an expression in the page; promises are awaited."""
        result = self.send('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in result:
            raise Failed(str(result['exceptionDetails'].get('exception', {}).get('description')))
        return result['result'].get('value')

    def wait(self, expression, seconds=90):
        end = time.monotonic() + seconds
        while not self.js(expression):
            if time.monotonic() > end:
                raise Failed('not within %d s: %s' % (seconds, expression))
            self._read(0.05)

    def open(self, url):
        self.send('Page.navigate', url=url)
        self.wait('document.readyState === "complete"')

    def size(self, width, height, mobile=False):
        self.send('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def theme(self, name):
        self.send('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': name}])

    def key(self, key, **more):
        for kind in ('keyDown', 'keyUp'):
            self.send('Input.dispatchKeyEvent', type=kind, key=key, code=key, **more)

    def mouse(self, kind, x, y, buttons=0):
        self.send('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left' if buttons or kind == 'mouseReleased' else 'none',
                  buttons=buttons, clickCount=1 if kind != 'mouseMoved' else 0)

    def screenshot(self, path):
        data = self.send('Page.captureScreenshot', format='png', captureBeyondViewport=True)['data']
        with open(path, 'wb') as file:
            file.write(base64.b64decode(data))

    def names(self):
        """(role, name) of everything that a screen reader meets."""
        nodes = self.send('Accessibility.getFullAXTree')['nodes']
        return [(n.get('role', {}).get('value', ''), n.get('name', {}).get('value', '')) for n in nodes
                if not n.get('ignored')]
