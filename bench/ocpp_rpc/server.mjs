// A peer of the bench: `ocpp-rpc` as its documentation uses it, strict: what comes and what is answered is held against the schemas.
//
//     node server.mjs PORT

import { createRequire } from 'node:module';
import { RPCServer } from 'ocpp-rpc';

const now = () => new Date().toISOString();
const accepted = { idTagInfo: { status: 'Accepted' } };
let transactionId = 0;

const server = new RPCServer({ protocols: ['ocpp1.6'], strictMode: true });
server.auth((accept) => accept());
server.on('client', (client) => {
    client.handle('BootNotification', () => ({ currentTime: now(), interval: 300, status: 'Accepted' }));
    client.handle('StatusNotification', () => ({}));
    client.handle('Authorize', () => accepted);
    client.handle('Heartbeat', () => ({ currentTime: now() }));
    client.handle('StartTransaction', () => ({ transactionId: ++transactionId, ...accepted }));
    client.handle('MeterValues', () => ({}));
    client.handle('StopTransaction', () => ({}));
});
await server.listen(Number(process.argv[2]), '127.0.0.1');

const { version } = createRequire(import.meta.url)('ocpp-rpc/package.json');
console.log(`ocpp-rpc ${version} on node ${process.versions.node}, strict`);
