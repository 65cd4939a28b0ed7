// A charge point on ocpp-rpc in strict mode: every answer of the server is validated against the JSON schemas that ship with it.
//
//     node session.js '{"url": "ws://…/ocpp", "identity": "CP1", "password": "…", "version": "1.6", "token": "T1", "actions": […]}'
//
// It runs one charging session, then sends every other action of `actions` once, with the smallest payload its schema allows.
// Prints one JSON object: {protocol, calls: [{action, ok, result | code, detail}], strict: [validation failures], transaction}.
// Exit code 0 unless it could not run at all; the verdict is the caller's.

'use strict';

const { RPCClient, createValidator } = require('ocpp-rpc');

const FILES = { '1.6': 'ocpp1_6', '2.0.1': 'ocpp2_0_1', '2.1': 'ocpp2_1' };
const CALL_TIMEOUT_MS = 15_000;

const options = JSON.parse(process.argv[2]);
const subprotocol = `ocpp${options.version}`;

// ocpp-rpc 2.2.1 names the schemas of 2.1 urn:<Action>Request and …Response but looks for urn:<Action>.req and .conf.
const schemas = require(`ocpp-rpc/lib/schemas/${FILES[options.version]}.json`).map((schema) => ({
    ...schema,
    $id: schema.$id.replace(/Request$/, '.req').replace(/Response$/, '.conf'),
}));
const validators = [createValidator(subprotocol, schemas)];

const now = () => new Date().toISOString();

function smallest(schema, root) {
    if (schema.$ref) return smallest(root.definitions[schema.$ref.split('/').pop()], root);
    if (schema.enum) return schema.enum[0];
    switch (schema.type) {
        case 'object':
            return Object.fromEntries((schema.required ?? []).map((name) => [name, smallest(schema.properties[name], root)]));
        case 'array':
            return Array.from({ length: schema.minItems ?? 0 }, () => smallest(schema.items, root));
        case 'string':
            return schema.format === 'date-time' ? now() : 'x'.repeat(Math.max(1, schema.minLength ?? 1));
        case 'integer':
        case 'number':
            return schema.minimum ?? 1;
        case 'boolean':
            return false;
        default:
            return {};
    }
}

function session16() {
    const reading = (wh, context) => ({
        timestamp: now(),
        sampledValue: [
            { value: String(wh), context, measurand: 'Energy.Active.Import.Register', unit: 'Wh' },
            { value: '11000', context, measurand: 'Power.Active.Import', unit: 'W' },
        ],
    });
    const status = (connectorId, word) => ['StatusNotification', { connectorId, errorCode: 'NoError', status: word, timestamp: now() }];
    const id = { idTag: options.token };
    return [
        ['BootNotification', { chargePointVendor: 'ocpp-rpc', chargePointModel: 'strict', firmwareVersion: '1.0' }],
        status(0, 'Available'),
        status(1, 'Preparing'),
        ['Authorize', id],
        ['StartTransaction', { connectorId: 1, ...id, meterStart: 1000, timestamp: now() }],
        status(1, 'Charging'),
        ['MeterValues', (t) => ({ connectorId: 1, transactionId: t, meterValue: [reading(1500, 'Sample.Periodic')] })],
        ['StopTransaction', (t) => ({
            transactionId: t, ...id, meterStop: 2000, timestamp: now(), reason: 'Local', transactionData: [reading(2000, 'Transaction.End')],
        })],
        status(1, 'Available'),
        ['DataTransfer', { vendorId: 'org.example', messageId: 'greeting', data: 'hello' }],
        ['Heartbeat', {}],
    ];
}

function session2() {
    const transactionId = `rpc-${Date.now()}`;
    const meterValue = (wh, context) => [{
        timestamp: now(),
        sampledValue: [{ value: wh, context, measurand: 'Energy.Active.Import.Register', unitOfMeasure: { unit: 'Wh' } }],
    }];
    const status = (word) => ['StatusNotification', { timestamp: now(), connectorStatus: word, evseId: 1, connectorId: 1 }];
    const idToken = { idToken: options.token, type: 'ISO14443' };
    const event = (eventType, seqNo, triggerReason, info, more) => ['TransactionEvent', {
        eventType, timestamp: now(), triggerReason, seqNo, transactionInfo: { transactionId, ...info }, ...more,
    }];
    return [
        ['BootNotification', { reason: 'PowerUp', chargingStation: { model: 'strict', vendorName: 'ocpp-rpc' } }],
        status('Available'),
        ['Authorize', { idToken }],
        status('Occupied'),
        event('Started', 0, 'Authorized', { chargingState: 'Charging' }, {
            idToken, evse: { id: 1, connectorId: 1 }, meterValue: meterValue(1000, 'Transaction.Begin'),
        }),
        event('Updated', 1, 'MeterValuePeriodic', { chargingState: 'Charging' }, { meterValue: meterValue(1500, 'Sample.Periodic') }),
        event('Updated', 2, 'ChargingStateChanged', { chargingState: 'SuspendedEV' }, { meterValue: meterValue(2000, 'Sample.Periodic') }),
        event('Ended', 3, 'StopAuthorized', { chargingState: 'EVConnected', stoppedReason: 'Local' }, {
            idToken, meterValue: meterValue(2000, 'Transaction.End'),
        }),
        status('Available'),
        ['MeterValues', { evseId: 0, meterValue: meterValue(9000, 'Sample.Clock') }],
        ['DataTransfer', { vendorId: 'org.example', messageId: 'greeting', data: { hello: 'world' } }],
        ['Heartbeat', {}],
    ];
}

async function main() {
    const verdict = { protocol: null, calls: [], strict: [], bad: [], transaction: null };
    const client = new RPCClient({
        endpoint: options.url,
        identity: options.identity,
        password: options.password ?? undefined,
        protocols: [subprotocol],
        strictMode: true,
        strictModeValidators: validators,
        reconnect: false,
        callTimeoutMs: CALL_TIMEOUT_MS,
    });
    client.on('strictValidationFailure', ({ method, params, result, error, outbound, isCall }) => {
        verdict.strict.push({ method, params, result, error: error.message, outbound, isCall });
    });
    client.on('badMessage', ({ buffer, error }) => verdict.bad.push(`${error.message}: ${buffer.toString('utf8')}`));

    async function call(action, payload) {
        try {
            const result = await client.call(action, payload);
            verdict.calls.push({ action, ok: true, result });
            return result;
        } catch (error) {
            verdict.calls.push({ action, ok: false, code: error.rpcErrorCode ?? error.name, detail: error.message });
            return null;
        }
    }

    await client.connect();
    verdict.protocol = client.protocol;
    const session = options.version === '1.6' ? session16() : session2();
    for (const [action, payload] of session) {
        const result = await call(action, typeof payload === 'function' ? payload(verdict.transaction) : payload);
        if (action === 'StartTransaction' && result) verdict.transaction = result.transactionId;
    }
    const done = new Set(session.map(([action]) => action));
    for (const action of options.actions.filter((name) => !done.has(name))) {
        const schema = schemas.find(({ $id }) => $id === `urn:${action}.req`);
        if (schema) await call(action, smallest(schema, schema));
    }
    await client.close();
    process.stdout.write(`${JSON.stringify(verdict)}\n`);
}

main().then(
    () => process.exit(0),
    (error) => {
        process.stderr.write(`${error.stack}\n`);
        process.exit(1);
    },
);
